"""The command line of a flow file, and of `metaflow`."""
