#' A decorator of your own
#'
#' Runs R code around the functions of steps. Give it to [step()] as you would give `retry()`; a decorator that takes
#' arguments is a function that returns one.
#'
#' @param name Name of the decorator, as it is shown: letters, digits and underscores.
#' @param around `function(self, body)`: runs in the place of the step's function, and calls `body()` to run it, which may
#'   be left out to skip the step, repeated, or surrounded by `tryCatch()` and `on.exit()`. The task then leads on as the
#'   flow says. It may have a third argument `inputs`, which is that of a join, and `NULL` elsewhere.
#' @param before,after Instead of `around`: `function(self)`, or `function(self, inputs)`, that runs before the step, and
#'   after it when it has succeeded.
#' @return A decorator for [step()]. On a step in Python it is an error when the flow is checked; `decorator("module.name")`
#'   gives a step, in either language, a decorator that was written in Python.
#' @details Of several decorators the one that is given first is the outermost. An error in a decorator is one of the
#'   step's: [retry()] and [catch()] apply. `current("step_name")` tells the step.
#' @examples
#' timed <- user_decorator("timed", around = function(self, body) {
#'   start <- Sys.time()
#'   body()
#'   self$seconds <- as.numeric(Sys.time() - start, units = "secs")
#' })
#' metaflow("TimedFlow") |>
#'   step(timed, step = "start", r_function = function(self) self$x <- sum(1:10), next_step = "end") |>
#'   step(step = "end")
#' @export
user_decorator <- function(name, around = NULL, before = NULL, after = NULL) {
  if (missing(name) || !is_string(name) || !grepl("^[A-Za-z][A-Za-z0-9_]*$", name)) {
    stop_metaflow(
      "user_decorator() needs a name of letters, digits and underscores: user_decorator(\"timed\", around = ...).",
      class = "metaflow_invalid_argument"
    )
  }
  refuse <- function(...) stop_metaflow(paste0("user_decorator(\"", name, "\"): ", ...), class = "metaflow_invalid_argument")
  if (is.null(around) && is.null(before) && is.null(after)) {
    refuse("it does nothing. Give it around = function(self, body) ..., or before and after.")
  }
  if (!is.null(around) && !(is.null(before) && is.null(after))) refuse("it has around, and before or after. Choose one.")
  check <- function(f, argument, needed) {
    if (is.null(f)) return()
    wanted <- paste0(argument, " = function(", paste(needed, collapse = ", "), ")")
    if (!is.function(f)) refuse(argument, " must be a function, not ", show_value(f), ". Write ", wanted, " ...")
    formals <- names(formals(args(f)))
    if (!all(formals %in% c(needed, "inputs", "...")) || !all(needed %in% formals)) {
      refuse(argument, " takes ", if (length(formals)) paste(formals, collapse = ", ") else "no arguments", ". Write ", wanted, " ...")
    }
  }
  check(around, "around", c("self", "body"))
  check(before, "before", "self")
  check(after, "after", "self")
  if (is.null(around)) around <- around_of(before, after)
  structure(list(name = name, arguments = list(), around = around), class = "metaflow_decorator")
}

# Outside of the package's namespace, because calls of its functions are not shown in a traceback.
around_of <- function(before, after) {
  scope <- list2env(list(before = before, after = after), parent = baseenv())
  calls <- list(
    if (!is.null(before)) call_with_inputs(quote(before(self = self)), before),
    quote(body()),
    if (!is.null(after)) call_with_inputs(quote(after(self = self)), after)
  )
  around <- function(self, body, inputs) NULL
  body(around) <- as.call(c(as.name("{"), Filter(Negate(is.null), calls)))
  environment(around) <- scope
  around
}

call_with_inputs <- function(call, f) {
  if ("inputs" %in% names(formals(args(f)))) call$inputs <- quote(inputs)
  call
}

# The call that runs a step inside of its decorators, and where. Each decorator is called by its name, with a `body` that
# calls the next one; `scope` has the step's function, `self` and `inputs`.
decorated_call <- function(call, scope, decorators) {
  if (!exists("inputs", envir = scope, inherits = FALSE)) scope$inputs <- NULL
  labels <- make.unique(paste0("@", names(decorators)))
  where <- scope
  for (i in rev(seq_along(decorators))) {
    level <- new.env(parent = scope)
    level$body <- as.function(list(call), envir = where)
    assign(labels[[i]], decorators[[i]], envir = scope)
    call <- call_with_inputs(as.call(list(as.name(labels[[i]]), self = quote(self), body = quote(body))), decorators[[i]])
    where <- level
  }
  list(call, where, labels[[1L]])
}

# The function of a step that does nothing, but whose decorators may.
no_code <- function(self, ...) invisible()
environment(no_code) <- baseenv()
