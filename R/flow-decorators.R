#' Run a failed step again
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param times How many times more, at most 4.
#' @param minutes_between_retries How long a production deployment waits. A run on this machine does not wait.
#' @return A decorator for [step()].
#' @examples
#' retry(times = 2)
#' @export
retry <- function(..., times = 3L, minutes_between_retries = 2L) {
  decorate("retry", list(...), times = times, minutes_between_retries = minutes_between_retries)
}

#' Go on after a failure
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param var Name of an artifact that gets the error, or `NULL` when the step succeeds.
#' @param print_exception Whether the error is printed to the step's log.
#' @return A decorator for [step()].
#' @examples
#' catch(var = "failure")
#' @export
catch <- function(..., var = NULL, print_exception = TRUE) {
  decorate("catch", list(...), var = var, print_exception = print_exception)
}

#' Limit the time of a step
#'
#' R code is interrupted, and the step fails with an error that [catch()] and [retry()] see. Code that does not look for
#' interrupts, such as a long loop in C or a program started by [system()], is killed five seconds later, and so is all that
#' the step has started.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param seconds,minutes,hours The limit is their sum.
#' @return A decorator for [step()].
#' @examples
#' timeout(minutes = 5)
#' @export
timeout <- function(..., seconds = 0, minutes = 0, hours = 0) {
  decorate("timeout", list(...), seconds = seconds, minutes = minutes, hours = hours)
}

#' What a step needs
#'
#' A hint for plugins that run steps on other machines. On this machine it holds when the setting
#' `METAFLOW_ENFORCE_RESOURCES` is `true`: tasks wait for free processors and memory, and get no more than they ask for. A
#' step that needs more memory fails with an error that says so.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param cpu,gpu Numbers of processors.
#' @param memory,shared_memory,disk Sizes in MB. `memory` is a limit on this machine only when it is given.
#' @return A decorator for [step()].
#' @examples
#' resources(cpu = 4, memory = 16000)
#' @export
resources <- function(..., cpu = 1L, gpu = 0L, memory = 4096L, shared_memory = NULL, disk = NULL) {
  if (missing(memory)) memory <- NULL # so that it is known whether it was given
  decorate("resources", list(...), cpu = cpu, gpu = gpu, memory = memory, shared_memory = shared_memory, disk = disk)
}

#' Environment variables of a step
#'
#' @param ... Variables by name.
#' @return A decorator for [step()].
#' @examples
#' environment_variables(OMP_NUM_THREADS = "1")
#' @export
environment_variables <- function(...) {
  variables <- list(...)
  new_decorator("environment", variables, "environment_variables()")
  for (name in names(variables)) {
    value <- variables[[name]]
    if (!inherits(value, "metaflow_config_expr") && (!is.atomic(value) || length(value) != 1L)) {
      stop_metaflow(
        paste0("environment_variables(): `", name, "` must be one text, not ", show_value(value), "."),
        class = "metaflow_invalid_argument"
      )
    }
  }
  later <- vapply(variables, inherits, NA, "metaflow_config_expr")
  variables[!later] <- lapply(variables[!later], as.character)
  decorator("environment", vars = variables)
}

#' More decorators
#'
#' Those of plugins. A decorator that no installed plugin provides is an error when the flow is
#' checked, which lists those that are there.
#'
#' @param ... Arguments of the decorator, by name; `metaflow`'s documentation lists them.
#' @return A decorator for [step()].
#' @examples
#' parallel()
#' @name decorators
NULL

#' @rdname decorators
#' @export
dask <- function(...) new_decorator("dask", list(...), "dask()")

#' @rdname decorators
#' @export
card <- function(...) new_decorator("card", list(...), "card()")

#' @rdname decorators
#' @export
parallel <- function(...) new_decorator("parallel", list(...), "parallel()")
