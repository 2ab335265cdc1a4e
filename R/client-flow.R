# The client of a flow.
