# `flow_client` and its like: `flow_client$new(...)` makes an object, and so does `flow_client(...)`.
generator <- function(name, new) structure(new, class = "metaflow_generator", name = name)

#' @export
`$.metaflow_generator` <- function(x, name) {
  what <- attr(x, "name")
  if (identical(name, "new")) {
    attributes(x) <- NULL
    return(x)
  }
  stop_metaflow(
    paste0("AttributeError: `", what, "` has no `", name, "`. Make an object first: ", what, "$new(...)."),
    class = "metaflow_unknown_member"
  )
}

#' @export
`[[.metaflow_generator` <- function(x, i) `$.metaflow_generator`(x, i)

#' @export
.DollarNames.metaflow_generator <- function(x, pattern = "") grep(pattern, "new", value = TRUE)

#' @export
print.metaflow_generator <- function(x, ...) {
  what <- attr(x, "name")
  cli::cat_line("<", what, "> Make one with ", what, "$new(...); see ?", what, ".")
  invisible(x)
}
