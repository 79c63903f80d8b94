"""Where stages run: on this machine, in worker processes (`local`)."""
