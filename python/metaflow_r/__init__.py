"""The Python half of the R binding. All use of rpy2 is in this package, and it is imported only when R is needed."""
