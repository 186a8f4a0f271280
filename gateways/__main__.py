"""``python -m gateways``: the same as the command ``gateways``, with this interpreter."""

from gateways.cli.main import main

if __name__ == "__main__":
    main()
