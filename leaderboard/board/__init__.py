"""From records to tables: answers read, seeds put together, rows labelled and compared."""
