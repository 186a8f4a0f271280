for i in $(seq 1 12); do
.venv/bin/python -m pytest "tests/core/test_keeping.py" -k "on_its_way or way and idle and unix and (poll or select) and fcgi" -x -q --timeout 3 -o faulthandler_timeout=2.5 > /tmp/k.log 2>&1 || break
done
