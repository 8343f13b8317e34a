"""`python -m robcomp` is the command `robcomp`."""

from robcomp.command import main

if __name__ == "__main__":
    main(prog_name="robcomp")
