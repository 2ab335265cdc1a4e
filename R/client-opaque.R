#' @export
print.metaflow_opaque <- function(x, ...) {
  x <- unclass(x)
  language <- switch(x$language, python = "Python", r = "R", x$language)
  cat("<", x$type, " written in ", language, if (nzchar(x$summary)) ": ", x$summary, ">\n", sep = "")
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
  pickle <- reticulate::import("pickle")
  payload <- reticulate::r_to_py(.subset2(x, "payload"))
  tryCatch(pickle$loads(payload), error = function(e) {
    stop_metaflow(
      paste0(
        "This ", .subset2(x, "type"), " can't be loaded: ", conditionMessage(e), ". It is a pickled Python object: ",
        "the modules it was made with must be installed, in a version that still fits it."
      ),
      class = "metaflow_unreadable_artifact"
    )
  })
}
