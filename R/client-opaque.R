#' @export
print.metaflow_opaque <- function(x, ...) {
  x <- unclass(x)
  cat("<", x$type, " written in ", x$language, ": ", x$summary, ">\n", sep = "")
  invisible(x)
}

#' @export
`$.metaflow_opaque` <- function(x, name) {
  if (identical(name, "load")) return(function() load_opaque(x))
  .subset2(x, name)
}

load_opaque <- function(x) {
  if (!requireNamespace("reticulate", quietly = TRUE)) {
    stop_metaflow("A Python object can be used in R with the package reticulate. Install it.", class = "metaflow_unreadable_artifact")
  }
  start_python()
  pickle <- reticulate::import("pickle", convert = FALSE)
  pickle$loads(reticulate::r_to_py(.subset2(x, "payload")))
}
