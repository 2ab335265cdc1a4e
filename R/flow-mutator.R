#' Mutators: change a flow before it runs
#'
#' A mutator changes which decorators and parameters a flow has. Give one of flows to [metaflow()], and one of steps to
#' [step()], as you would give `retry()`; a mutator that takes arguments is a function that returns one.
#'
#' @param name Name of the mutator, as messages show it: letters, digits and underscores.
#' @param mutate `function(flow)` or `function(step)`: called when configs and the decorators of `--with` are known, before
#'   the flow is checked.
#' @param pre_mutate `function(flow)`: called when the flow is read, before the command line is. Only here parameters can be
#'   added and removed, and configs have no values yet.
#' @return A mutator, for [metaflow()] or [step()].
#' @section What a mutator can change:
#' The `flow` has
#' - `name`; `steps`: a list of steps by name; `parameters`: a list with `name`, `default`, `type`, `help`, `required` of each;
#'   `configs`: their values by name, which are members of the flow too, as in `flow$limits$cpu`;
#' - `decorator_specs`: a list with `name`, `module` and `arguments` of each decorator;
#' - `add_decorator(decorator, duplicates = "ignore")`: adds [retry()], [decorator()], [user_decorator()], ... When there is
#'   one of this name, `"ignore"` keeps it, `"override"` replaces it, and `"error"` is an error;
#' - `remove_decorator(name, arguments = NULL)`: `TRUE` when there was one, with these arguments if any are given;
#' - `add_parameter(parameter, ..., overwrite = FALSE)`, with the arguments of [parameter()], and `remove_parameter(name)`.
#'
#' A `step` has `name`, `flow`, `decorator_specs`, `add_decorator()` and `remove_decorator()`. What steps do, and where they
#' lead, a mutator can't change.
#' @examples
#' robust <- function(times = 3) {
#'   flow_mutator("robust",
#'     pre_mutate = function(flow) flow$add_parameter("verbose", default = FALSE),
#'     mutate = function(flow) for (step in flow$steps) step$add_decorator(retry(times = times))
#'   )
#' }
#' slow <- step_mutator("slow", function(step) step$add_decorator(timeout(hours = 2)))
#' metaflow("RobustFlow", robust(times = 2)) |>
#'   step(slow, step = "start", next_step = "end") |>
#'   step(step = "end")
#' @export
flow_mutator <- function(name, mutate = NULL, pre_mutate = NULL) {
  new_mutator("flow_mutator", name, "flows", mutate, pre_mutate)
}

#' @rdname flow_mutator
#' @export
step_mutator <- function(name, mutate) {
  new_mutator("step_mutator", name, "steps", if (!missing(mutate)) mutate, NULL)
}

new_mutator <- function(maker, name, of, mutate, pre_mutate) {
  argument <- sub("s$", "", of)
  if (missing(name) || !is_string(name) || !grepl("^[A-Za-z][A-Za-z0-9_]*$", name)) {
    stop_metaflow(
      paste0(maker, "() needs a name of letters, digits and underscores: ", maker, "(\"robust\", function(", argument, ") ...)."),
      class = "metaflow_invalid_argument"
    )
  }
  refuse <- function(...) stop_metaflow(paste0(maker, "(\"", name, "\"): ", ...), class = "metaflow_invalid_argument")
  if (is.null(mutate) && is.null(pre_mutate)) refuse("it does nothing. Give it mutate = function(", argument, ") ....")
  for (part in c("mutate", "pre_mutate")) {
    f <- get(part)
    if (is.null(f)) next
    if (!is.function(f)) refuse(part, " must be a function, not ", show_value(f), ".")
    if (!length(formals(args(f)))) refuse(part, " takes no arguments. Write function(", argument, ") ....")
  }
  structure(
    list(name = name, arguments = list(), of = of, pre_mutate = pre_mutate, mutate = mutate),
    class = "metaflow_decorator"
  )
}

# Whether there may be parameters that the script does not tell.
has_mutators <- function(flow) {
  any(vapply(flow$decorators, function(one) !is.null(one$of) || grepl(".", one$name, fixed = TRUE), NA))
}

# The names of arguments hide those of functions where a mutator adds a parameter.
add_to_nothing <- function(...) parameter(metaflow("Flow"), ...)

# Called by Python. TRUE, or what went wrong and the number of Python's exception.
call_mutator <- function(f, number, kind) {
  tryCatch(
    {
      f(new_mutable(number, kind))
      list(TRUE)
    },
    error = function(e) list(conditionMessage(e), python_id(e))
  )
}

new_mutable <- function(number, kind) structure(list(number = number), class = c(paste0("mutable_", kind), "metaflow_mutable"))

mutable_members <- list(
  flow = c(
    "name", "steps", "parameters", "configs", "decorator_specs", "add_decorator", "remove_decorator", "add_parameter",
    "remove_parameter"
  ),
  step = c("name", "flow", "decorator_specs", "add_decorator", "remove_decorator")
)

members_of_mutable <- function(x) mutable_members[[sub("mutable_", "", class(x)[[1L]])]]

#' @export
`$.metaflow_mutable` <- function(x, name) {
  number <- .subset2(x, "number")
  about <- function(what) call_core("mutable_about", number, what)
  if (!name %in% members_of_mutable(x)) {
    configs <- if (inherits(x, "mutable_flow")) about("configs")
    if (name %in% names(configs)) return(configs[[name]])
    stop_metaflow(
      paste0(
        "A mutator's ", sub("mutable_", "", class(x)[[1L]]), " has no `", name, "`. ",
        suggest(name, c(members_of_mutable(x), names(configs)))
      ),
      class = "metaflow_unknown_member"
    )
  }
  switch(name,
    steps = lapply(about("steps"), function(one) new_mutable(one[[1L]], one[[2L]])),
    flow = {
      one <- about("flow")
      new_mutable(one[[1L]], one[[2L]])
    },
    add_decorator = function(decorator, duplicates = "ignore") {
      if (missing(decorator) || !inherits(decorator, "metaflow_decorator")) {
        stop_metaflow(
          "add_decorator() takes a decorator, such as retry(times = 2) or decorator(\"module.name\").",
          class = "metaflow_invalid_argument"
        )
      }
      if (!is_string(duplicates) || !duplicates %in% c("ignore", "override", "error")) {
        stop_metaflow(
          paste0("add_decorator(): duplicates is \"ignore\", \"override\" or \"error\", not ", show_value(duplicates), "."),
          class = "metaflow_invalid_argument"
        )
      }
      invisible(call_core("mutable_add_decorator", number, unclass(decorator), duplicates))
    },
    remove_decorator = function(name, arguments = NULL) {
      invisible(call_core("mutable_remove_decorator", number, check_name(name), arguments))
    },
    add_parameter = function(parameter, ..., overwrite = FALSE) {
      made <- add_to_nothing(parameter, ...)$parameters[[1L]]
      invisible(call_core("mutable_add_parameter", number, made, isTRUE(overwrite)))
    },
    remove_parameter = function(name) invisible(call_core("mutable_remove_parameter", number, check_name(name))),
    about(name)
  )
}

#' @export
`[[.metaflow_mutable` <- function(x, i) if (is_string(i)) `$.metaflow_mutable`(x, i) else .subset2(x, i)

#' @export
.DollarNames.metaflow_mutable <- function(x, pattern = "") grep(pattern, members_of_mutable(x), value = TRUE)

#' @export
format.metaflow_mutable <- function(x, ...) {
  paste0("<", sub("mutable_", "", class(x)[[1L]]), " ", x$name, ": ", paste(members_of_mutable(x), collapse = ", "), ">")
}

#' @export
print.metaflow_mutable <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}
