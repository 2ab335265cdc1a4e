#' Start a flow
#'
#' @param name Name of the flow: letters, digits and underscores.
#' @param ... Decorators of the flow, such as `project(name = "fraud")` or `schedule(daily = TRUE)`.
#' @return A flow without steps. Pipe it into [parameter()], [config()], [step()] and [run()]. It is an ordinary value:
#'   printing it shows its steps.
#' @examples
#' metaflow("HelloFlow") |>
#'   step(step = "start", next_step = "end") |>
#'   step(step = "end")
#' @export
metaflow <- function(name, ...) {
  if (missing(name)) check_decorators(decorators_in(...), "metaflow()") # which may be a misspelt `name`
  if (missing(name) || !is_string(name)) {
    stop_metaflow(
      paste0("A flow needs a name: metaflow(\"HelloFlow\")", if (!missing(name)) paste0(", not ", show_value(name)), "."),
      class = "metaflow_invalid_argument"
    )
  }
  structure(
    list(
      name = name, decorators = check_decorators(decorators_in(...), "metaflow()"), parameters = list(),
      configs = list(), steps = list(), source = source_being_read()
    ),
    class = "metaflow_flow"
  )
}

# The script that defines a flow: the one that source() is reading, else that of Rscript.
source_being_read <- function() {
  for (frame in rev(sys.frames())) {
    file <- get0("ofile", envir = frame, inherits = FALSE)
    if (is_string(file)) return(normalizePath(file, mustWork = FALSE))
  }
  script_file()
}

check_decorators <- function(given, where) {
  names <- names(given)
  for (i in seq_along(given)) {
    if (!inherits(given[[i]], "metaflow_decorator")) {
      name <- if (is.null(names)) "" else names[[i]]
      stop_metaflow(
        if (nzchar(name)) {
          unknown_argument(where, name)
        } else {
          paste0(
            where, " takes its arguments by name, and decorators such as retry(times = 2). ",
            "It was given ", show_value(given[[i]]), "."
          )
        },
        class = "metaflow_invalid_argument"
      )
    }
  }
  unname(given)
}

step_arguments <- c("step", "r_function", "py_function", "foreach", "join", "next_step", "condition", "num_parallel")
parameter_arguments <- c("parameter", "required", "help", "separator", "default", "type", "is_flag")
config_arguments <- c("name", "default", "default_value", "help", "required", "parser", "plain")

unknown_argument <- function(where, name, known = NULL) {
  if (is.null(known)) {
    known <- switch(where,
      "step()" = step_arguments, "parameter()" = parameter_arguments,
      "config()" = config_arguments, "name"
    )
  }
  paste0(where, " has no argument `", name, "`. ", suggest(name, known))
}

# The flow as lists and functions, which is all that the Python side reads.
flow_data <- function(flow) {
  list(
    name = flow$name,
    file = script_file(),
    source = if (is.null(flow$source)) NA_character_ else flow$source,
    decorators = lapply(flow$decorators, unclass),
    parameters = flow$parameters,
    configs = flow$configs,
    steps = flow$steps
  )
}

#' @export
format.metaflow_flow <- function(x, ...) {
  count <- length(x$steps)
  lines <- paste0("Flow ", x$name, ": ", count, if (count == 1L) " step" else " steps")
  for (decorator in x$decorators) lines <- c(lines, paste0("  ", format(decorator)))
  for (parameter in x$parameters) {
    default <- parameter$default
    shown <- if (is.null(default)) {
      if (parameter$required) "required" else "no default"
    } else if (inherits(default, "metaflow_config_expr")) {
      paste("default", format(default))
    } else if (is.function(default)) {
      "default computed"
    } else {
      paste("default", paste(format(default), collapse = ", "))
    }
    lines <- c(lines, paste0("  parameter ", parameter$name, " (", shown, ")"))
  }
  for (config in x$configs) {
    shown <- if (!is.null(config$default)) {
      paste("default", config$default)
    } else if (!is.null(config$default_value)) {
      "default value"
    } else if (config$required) {
      "required"
    } else {
      "no default"
    }
    lines <- c(lines, paste0("  config ", config$name, " (", shown, ")"))
  }
  for (step in x$steps) {
    marks <- vapply(step$decorators, function(d) paste0(" ", format(structure(d, class = "metaflow_decorator"))), "")
    lines <- c(lines, paste0("  ", step$name, format_transition(step), if (step$join) " (join)", paste(marks, collapse = "")))
  }
  lines
}

format_transition <- function(step) {
  arrow <- if (cli::is_utf8_output()) " \u2192 " else " -> "
  if (length(step$next_step) == 0L) return("")
  if (length(step$cases)) {
    return(paste0(arrow, paste0(step$cases, ": ", step$next_step, collapse = ", "), " by ", step$condition))
  }
  each <- if (length(step$foreach)) paste0(" for each ", step$foreach) else ""
  parallel <- if (length(step$num_parallel)) paste0(" times ", step$num_parallel) else ""
  paste0(arrow, paste(step$next_step, collapse = ", "), each, parallel)
}

#' @export
print.metaflow_flow <- function(x, ...) {
  lines <- format(x)
  cli::cat_line(c(cli::style_bold(lines[[1L]]), lines[-1L]))
  invisible(x)
}
