"""`python -m eostui` is `eostui`."""

from eostui.cli import main

if __name__ == "__main__":
    main()
