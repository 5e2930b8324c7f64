"""`python -m wfm_cli` is `wfm`."""

from wfm_cli.main import main

if __name__ == "__main__":
    main()
