"""Run the command line with `python -m scelle.cli`."""

from scelle.cli.main import main

if __name__ == "__main__":
    main()
