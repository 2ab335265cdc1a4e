new_inputs <- function(positions, branches) {
  few <- length(positions) <= 256L # of more, what was read is not kept: a loop over all of them needs one at a time
  inputs <- lapply(positions, function(position) {
    input <- new.env(hash = FALSE, parent = emptyenv())
    input$.position <- position
    if (few) input$.values <- new.env(parent = emptyenv())
    class(input) <- "metaflow_input"
    input
  })
  names(inputs) <- branches
  class(inputs) <- "metaflow_inputs"
  inputs
}

input_get <- function(input, name) {
  values <- .subset2(input, ".values")
  value <- if (is.null(values)) absent else get0(name, envir = values, inherits = FALSE, ifnotfound = absent)
  if (!identical(value, absent)) return(value)
  position <- .subset2(input, ".position")
  value <- switch(name,
    input = call_core("input_input", position),
    index = call_core("input_index", position),
    call_core("input_get", position, name)
  )
  if (!is.null(values)) assign(name, value, envir = values)
  value
}

#' @export
`$.metaflow_input` <- function(x, name) input_get(x, name)

#' @export
`[[.metaflow_input` <- function(x, i) input_get(x, check_name(i))

#' @export
`$<-.metaflow_input` <- function(x, name, value) {
  stop_metaflow("The artifacts of an input can't be changed. Set them on self.", class = "metaflow_unchangeable")
}

#' @export
`[[<-.metaflow_input` <- `$<-.metaflow_input`

#' @export
names.metaflow_input <- function(x) call_core("input_names", .subset2(x, ".position"))

#' @export
.DollarNames.metaflow_input <- function(x, pattern = "") grep(pattern, names(x), value = TRUE)

#' @export
length.metaflow_input <- function(x) length(names(x))

#' @export
format.metaflow_input <- function(x, ...) {
  position <- .subset2(x, ".position")
  paste0("<input ", position + 1L, ", from step ", call_core("input_step", position), ": ", paste(names(x), collapse = ", "), ">")
}

#' @export
print.metaflow_input <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

#' @export
as.list.metaflow_input <- function(x, ...) artifacts_as_list(x)

artifacts_as_list <- function(x) {
  names <- names(x)
  values <- lapply(names, function(name) x[[name]])
  names(values) <- names
  values
}

#' @export
str.metaflow_input <- function(object, ...) cat("", format(object), "\n")

#' @export
`$.metaflow_inputs` <- function(x, name) x[[name]]

#' @export
`[[.metaflow_inputs` <- function(x, i) {
  known <- names(x)
  place <- if (length(i) != 1L) NA else if (is.character(i)) match(i, known) else if (is.numeric(i)) i else NA
  if (!is.na(place) && place >= 1 && place <= length(x)) return(.subset2(x, place))
  stop_metaflow(
    paste0("AttributeError: ", if (is.character(i) && is.null(known)) {
      "the inputs of a foreach have no names: use inputs[[1]], or lapply() over them."
    } else if (is_string(i)) {
      paste0("the join has no input \"", i, "\". ", suggest(i, known))
    } else {
      paste0("the join has ", length(x), if (length(x) == 1L) " input" else " inputs", ", and no [[", show_value(i), "]].")
    }),
    class = "metaflow_attribute_error"
  )
}

#' @export
`[.metaflow_inputs` <- function(x, i) structure(unclass(x)[i], class = "metaflow_inputs")

#' @export
`$<-.metaflow_inputs` <- function(x, name, value) {
  if (identical(value, .subset2(x, name))) return(x) # what R does after inputs$a$x <- 1, which has been refused before
  stop_metaflow("The inputs of a join can't be changed. Set artifacts on self.", class = "metaflow_unchangeable")
}

#' @export
`[[<-.metaflow_inputs` <- function(x, i, value) `$<-.metaflow_inputs`(x, i, value)

#' @export
as.list.metaflow_inputs <- function(x, ...) unclass(x)

#' @export
format.metaflow_inputs <- function(x, ...) vapply(unclass(x), format, "")

#' @export
print.metaflow_inputs <- function(x, ...) {
  cli::cat_line("<", length(x), if (length(x) == 1L) " input" else " inputs", " of a join>")
  lines <- format(utils::head(x, 20L))
  names <- if (is.null(names(x))) paste0("[[", seq_along(lines), "]]") else paste0("$", names(lines))
  cli::cat_line(format(names), " ", lines, recycle0 = TRUE)
  if (length(x) > 20L) cli::cat_line("... and ", length(x) - 20L, " more")
  invisible(x)
}

#' @export
str.metaflow_inputs <- function(object, ...) cat(" <", length(object), " inputs of a join>\n", sep = "")

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
  if (missing(input)) input <- NULL
  if (!is_string(input)) {
    stop_metaflow(
      paste0("gather_inputs(inputs, \"x\") takes the name of one artifact, not ", show_value(input), "."),
      class = "metaflow_invalid_argument"
    )
  }
  lapply(check_inputs(inputs, "gather_inputs(inputs, \"x\")"), function(one) one[[input]])
}

# The inputs as a plain list.
check_inputs <- function(inputs, usage) {
  known <- is.list(inputs) && all(vapply(inputs, inherits, NA, "metaflow_input"))
  if (!known) {
    stop_metaflow(
      paste0(
        "The inputs are the second argument of a join's function, or some of its elements: ", usage, ". ",
        "Given was ", show_value(inputs), "."
      ),
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
  for (argument in c("exclude", "include")) {
    value <- get(argument)
    if (length(value) && !(is.character(unlist(value)) && !anyNA(unlist(value)))) {
      stop_metaflow(
        paste0("merge_artifacts(): ", argument, " takes names of artifacts, not ", show_value(value), "."),
        class = "metaflow_invalid_argument"
      )
    }
  }
  positions <- vapply(parts, function(input) .subset2(input, ".position"), 1L)
  call_core("merge", unname(positions), as.character(unlist(exclude)), as.character(unlist(include)))
  invisible(self)
}
