"""``python -m qupath_hccmil``."""

from qupath_hccmil.cli import main

if __name__ == "__main__":
    main()
