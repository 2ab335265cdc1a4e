# State of the package in this session: `core` holds the functions that Python provides, once Python runs.
the <- new.env(parent = emptyenv())
the$core <- new.env(parent = emptyenv())
the$python <- NULL
the$shown <- 0
the$trial <- FALSE # whether call_step() has called the step that runs

.onLoad <- function(libname, pkgname) {
  the$library <- libname
}

# `step()` is generic here, and passes what is no flow on to stats::step(), so there is no conflict to tell of.
.onAttach <- function(libname, pkgname) {
  assign(".conflicts.OK", TRUE, envir = as.environment("package:metaflow"))
}
