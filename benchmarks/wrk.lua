-- The request that wrk sends, and the check of every response.
--
--     wrk --script wrk.lua URL -- EXPECTED_BODY "Name: value" ...
--
-- The headers come from load.py, which has them for both load generators. No two clients ask for
-- the same with the same cookie: "page=2" and the digits of "session=" differ from request to
-- request, so that no server gains by remembering what only a benchmark repeats.

local VARIANTS = 1000
local threads = {}
local texts = {}
local turn = 0

function setup(thread)
    table.insert(threads, thread)
end

function init(args)
    wrong = 0 -- global, so that done() can ask each thread for it
    expected = args[1]
    for i = 2, #args do
        local name, value = args[i]:match("^([^:]+): (.*)$")
        wrk.headers[name] = value
    end
    local cookie = wrk.headers["Cookie"]
    for i = 1, VARIANTS do
        if cookie then
            wrk.headers["Cookie"] = cookie:gsub("session=%w+", string.format("session=Zq3tV0n8hU2m%04d", i))
        end
        texts[i] = wrk.format(nil, (wrk.path:gsub("page=%d+", "page=" .. i)))
    end
end

function request()
    turn = turn % VARIANTS + 1
    return texts[turn]
end

function response(status, headers, body)
    if status ~= 200 or body ~= expected then
        wrong = wrong + 1
    end
end

function done(summary, latency, requests)
    local wrong = 0
    for _, thread in ipairs(threads) do
        wrong = wrong + thread:get("wrong")
    end
    local errors = summary.errors
    io.write(string.format(
        "result requests=%d microseconds=%d wrong=%d connect=%d read=%d write=%d timeout=%d\n",
        summary.requests, summary.duration, wrong,
        errors.connect, errors.read, errors.write, errors.timeout))
end
