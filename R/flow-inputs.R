new_inputs <- function(positions, branches) {
  inputs <- lapply(positions, function(position) {
    input <- new.env(parent = emptyenv())
    input$.position <- position
    input$.values <- new.env(parent = emptyenv())
    class(input) <- "metaflow_input"
    input
  })
  names(inputs) <- branches
  class(inputs) <- "metaflow_inputs"
  inputs
}

input_get <- function(input, name) {
  values <- .subset2(input, ".values")
  value <- get0(name, envir = values, inherits = FALSE, ifnotfound = absent)
  if (!identical(value, absent)) return(value)
  position <- .subset2(input, ".position")
  value <- switch(name,
    input = call_core("input_input", position),
    index = call_core("input_index", position),
    call_core("input_get", position, name)
  )
  assign(name, value, envir = values)
  value
}

#' @export
`$.metaflow_input` <- function(x, name) input_get(x, name)

#' @export
`[[.metaflow_input` <- function(x, i) input_get(x, check_name(i))

#' @export
`$<-.metaflow_input` <- function(x, name, value) {
  stop_metaflow("The artifacts of an input can't be changed. Set them on self.")
}

#' @export
`[[<-.metaflow_input` <- `$<-.metaflow_input`

#' @export
names.metaflow_input <- function(x) call_core("input_names", .subset2(x, ".position"))

#' @export
.DollarNames.metaflow_input <- function(x, pattern = "") grep(pattern, names(x), value = TRUE)

#' @export
print.metaflow_input <- function(x, ...) {
  position <- .subset2(x, ".position")
  cat("<input ", position + 1L, ", from step ", call_core("input_step", position), ">\n", sep = "")
  invisible(x)
}

#' @export
`$.metaflow_inputs` <- function(x, name) {
  found <- .subset2(x, name)
  if (is.null(found)) {
    known <- names(x)
    stop_metaflow(
      if (is.null(known)) {
        "AttributeError: the inputs of a foreach have no names: use inputs[[1]], or lapply() over them."
      } else {
        paste0("AttributeError: the join has no input \"", name, "\". ", suggest(name, known))
      }
    )
  }
  found
}

#' @export
`[.metaflow_inputs` <- function(x, i) structure(unclass(x)[i], class = "metaflow_inputs")

#' Collect an artifact from the inputs of a join
#'
#' @param inputs The second argument of a join's function.
#' @param input Name of an artifact.
#' @return A list with the artifact of each input: branches in the order of `next_step`, a foreach in its order.
#' @examples
#' total <- function(self, inputs) {
#'   self$total <- sum(unlist(gather_inputs(inputs, "count")))
#' }
#' @export
gather_inputs <- function(inputs, input) {
  lapply(check_inputs(inputs, "gather_inputs(inputs, \"x\")"), function(one) one[[input]])
}

# The inputs as a plain list.
check_inputs <- function(inputs, usage) {
  known <- is.list(inputs) && all(vapply(inputs, inherits, NA, "metaflow_input"))
  if (!known) {
    stop_metaflow(
      paste0("The inputs are the second argument of a join's function, or some of its elements: ", usage, ". Given was ", show_value(inputs), "."),
      class = "metaflow_invalid_argument"
    )
  }
  unclass(inputs)
}

#' Take over artifacts in a join
#'
#' Artifacts on which all inputs agree become artifacts of the join. What is set on `self` already is kept.
#'
#' @param self The first argument of the join's function.
#' @param inputs Its second argument, or some of its elements.
#' @param exclude Names of artifacts to leave out.
#' @param include Names of the only artifacts to take. Not together with `exclude`.
#' @return `self`, invisibly. When inputs differ in an artifact, the error `metaflow_unhandled_in_merge_artifacts` names
#'   it, and nothing is taken over.
#' @examples
#' join <- function(self, inputs) {
#'   merge_artifacts(self, inputs, exclude = "model")
#' }
#' @export
merge_artifacts <- function(self, inputs, exclude = list(), include = list()) {
  parts <- check_inputs(inputs, "merge_artifacts(self, inputs)")
  positions <- vapply(parts, function(input) .subset2(input, ".position"), 1L)
  call_core("merge", unname(positions), as.character(unlist(exclude)), as.character(unlist(include)))
  invisible(self)
}
