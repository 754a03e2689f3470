"""The subcommands of `kinova`. What moves the arm does so only with `--move`."""
