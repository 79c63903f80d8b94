"""Where stages run: in worker processes here (`local`), in containers (`docker`), on a cluster (`ray`)."""
