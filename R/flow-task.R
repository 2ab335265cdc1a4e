# The function of a step is run by Python, between the two functions below, and not by R code of ours: then the user's
# calls are all there are on R's stack, which is what R itself shows when it crashes. `ready_step` gives the expression to
# evaluate and where; it registers its own handlers as `withCallingHandlers()` does, whose frame would be shown too.
# `ended_step` says how it ended. R sees an alarm of Python's only when it returns to Python, so it watches the deadline
# itself.

ready_step <- function(body, step, deadline, positions, branches, decorators = list()) {
  self <- new_self()
  scope <- new.env(parent = baseenv())
  assign(step, body, envir = scope)
  scope$self <- self
  arguments <- list(as.name(step), quote(self))
  if (!is.null(positions)) {
    scope$inputs <- new_inputs(positions, branches)
    arguments <- c(arguments, quote(inputs))
  }
  top <- list(as.call(arguments), scope, step)
  if (length(decorators)) top <- decorated_call(top[[1L]], scope, decorators)
  task <- new.env(parent = emptyenv())
  task$self <- self
  task$step <- step
  task$outcome <- list(kind = "done")
  task$undo <- as_a_task(task)
  the$task <- task
  handlers <- list(
    error = function(e) {
      if (the$trial) the$raised <- e
      end_step(task, failure(e, user_calls(sys.calls(), sys_functions(), top[[3L]]), step))
    },
    interrupt = function(e) end_step(task, failure(simpleError("interrupted"), NULL, step)),
    message = function(m) tell(conditionMessage(m), "muffleMessage"),
    warning = function(w) if (getOption("warn") == 1L) tell(warning_text(w), "muffleWarning")
  )
  if (the$trial) {
    handlers$message <- function(m) keep_told(m, "muffleMessage")
    handlers$warning <- function(w) keep_told(w, "muffleWarning")
  }
  register <- as.call(list(as.name(".addCondHands"), names(handlers), handlers, emptyenv(), NULL, TRUE))
  limit <- if (deadline > 0) {
    bquote(setTimeLimit(elapsed = .(max(deadline - as.numeric(Sys.time()) - 0.01, 0.001)), transient = TRUE))
  }
  list(as.call(c(as.name("{"), limit, as.call(list(as.name(".Internal"), register)), top[[1L]])), top[[2L]])
}

# Leaves the step's function, from wherever it is.
end_step <- function(task, outcome) {
  task$outcome <- outcome
  invokeRestart("abort")
}

# `message` is what R says of an error that no handler has seen, because there was no room left on the stack.
ended_step <- function(message) {
  task <- the$task
  setTimeLimit()
  task$undo()
  outcome <- task$outcome
  if (!is.null(message) && outcome$kind == "done") {
    outcome <- failure(simpleError(sub("^Error[^:]*: ", "", trimws(message))), NULL, task$step)
  }
  outcome$changed <- changed_values(task$self)
  outcome
}

# Stdout and stderr are two pipes, and who reads them can't know which was written to first. So what is told on stderr
# waits until stdout was read, and what follows waits until it was read itself.
tell <- function(text, restart) {
  flush(stdout())
  the$core$wait_until_read(1L)
  cat(text, file = stderr())
  the$core$wait_until_read(2L)
  invokeRestart(restart)
}

# What a step tells that call_step() has called: signalled when it is over, because here only our handlers hear of it.
keep_told <- function(condition, restart) {
  the$told <- c(the$told, list(condition))
  invokeRestart(restart)
}

# As R prints a warning when `options(warn = 1)`.
warning_text <- function(w) {
  call <- conditionCall(w)
  text <- conditionMessage(w)
  if (is.null(call)) return(paste0("Warning: ", text, "\n"))
  call <- one_line(call)
  gap <- if (nchar(call, "w") + nchar(sub("\n.*", "", text), "w") + 18L > 77L) "\n  " else " "
  paste0("Warning in ", call, " :", gap, text, "\n")
}

failure <- function(condition, calls, step) {
  call <- conditionCall(condition)
  list(
    kind = "error",
    message = conditionMessage(condition),
    classes = setdiff(class(condition), c("error", "condition")),
    call = if (is.null(call)) "" else one_line(call),
    calls = if (is.null(calls)) character() else calls,
    id = python_id(condition)
  )
}

sys_functions <- function() lapply(seq_len(sys.nframe() - 1L), sys.function)

# The calls of the user's code: from the step's function to the one that failed, which may be one of ours.
user_calls <- function(calls, functions, step) {
  heads <- vapply(calls, function(call) paste(deparse(call[[1L]], nlines = 1L), collapse = ""), "")
  first <- match(step, heads)
  if (is.na(first)) return(character())
  after <- seq_along(heads) > first
  signals <- c(".handleSimpleError", "stop", "abort", "rlang::abort", "signalCondition")
  namespace <- topenv()
  ours <- vapply(functions[seq_along(heads)], function(f) identical(environment(f), namespace), TRUE)
  # What is behind self$x, which has a line of its own; and what R calls when one of its own functions fails.
  handlers <- vapply(functions[seq_along(heads)], function(f) !is.primitive(f) && identical(topenv(environment(f)), namespace), TRUE)
  methods <- ours & grepl("^[$[]+(<-)?\\.metaflow_", heads) | handlers & vapply(calls, function(call) is.function(call[[1L]]), TRUE)
  ends <- c(which((heads %in% signals | methods) & after) - 1L, which(ours & after), length(heads))
  shown <- first:max(first, min(ends))
  while (length(shown) > 1L && grepl("`*tmp*`", one_line(calls[[max(shown)]]), fixed = TRUE)) shown <- shown[-length(shown)]
  if (length(shown) > 20L) {
    skipped <- paste("...", length(shown) - 20L, "calls left out ...")
    return(c(lines_of(calls[shown[1:10]]), skipped, lines_of(calls[utils::tail(shown, 10L)])))
  }
  lines_of(calls[shown])
}

lines_of <- function(calls) vapply(calls, one_line, "")

one_line <- function(call) {
  text <- gsub("\\s+", " ", paste(deparse(call, nlines = 3L), collapse = " "))
  if (nchar(text) > 120L) paste0(substr(text, 1L, 117L), "...") else text
}

# In a task `quit()` ends the step, not the process, so that what was set is stored and @retry and @catch apply.
# Warnings are told at once, in order. Random numbers start afresh.
as_a_task <- function(task) {
  old <- options(warn = if (getOption("warn") == 0L && !the$trial) 1L else getOption("warn"))
  quitting <- function(save = "default", status = 0, runLast = TRUE) {
    end_step(task, list(kind = "quit", status = as.integer(status)))
  }
  before <- list(quit = base::quit, q = base::q)
  for (name in names(before)) rebind(name, quitting)
  seeded <- !the$trial && exists(".Random.seed", envir = globalenv(), inherits = FALSE)
  if (seeded) rm(".Random.seed", envir = globalenv())
  function() {
    for (name in names(before)) rebind(name, before[[name]])
    options(old)
  }
}

rebind <- function(name, value) {
  base <- baseenv()
  unlock <- get("unlockBinding", envir = base)
  unlock(name, base)
  assign(name, value, envir = base)
  lockBinding(name, base)
}

# The elements of a foreach: `x[[i]]`. A text says why there are none.
foreach_elements <- function(box) {
  x <- box[[1L]]
  if (is.data.frame(x)) {
    return(paste0(
      "is a data frame, which could mean its rows or its columns. ",
      "Set it to rows_of(x), or to as.list(x) for the columns."
    ))
  }
  if (is.function(x) || is.environment(x) || is.language(x) || isS4(x)) {
    return(paste0("can't be iterated, it is a ", class(x)[[1L]], "."))
  }
  lapply(seq_along(x), function(i) x[[i]])
}

#' The rows of a data frame
#'
#' A foreach over a data frame has to say what it goes over; this is a list with one data frame per row.
#'
#' @param x A data frame.
#' @return A list of data frames with one row each.
#' @examples
#' rows_of(data.frame(a = 1:2, b = c("x", "y")))
#' @export
rows_of <- function(x) {
  if (length(dim(x)) != 2L) {
    stop_metaflow(paste0("rows_of() takes a data frame, not ", show_value(x), "."), class = "metaflow_invalid_argument")
  }
  lapply(seq_len(nrow(x)), function(i) x[i, , drop = FALSE])
}

switch_value <- function(box) {
  x <- box[[1L]]
  if (length(x) == 1L && is.atomic(x) && !is.na(x)) as.character(x) else one_line(x)
}

arity_problem <- function(f, join) {
  wanted <- if (join) 2L else 1L
  formals <- formals(args(f))
  needs <- sum(vapply(formals, function(default) is.name(default) && !nzchar(as.character(default)), TRUE) & names(formals) != "...")
  takes <- if ("..." %in% names(formals)) Inf else length(formals)
  if (needs <= wanted && takes >= wanted) return("")
  expected <- if (join) "function(self, inputs), because the step is a join" else "function(self)"
  paste0("takes ", if (length(formals)) paste(names(formals), collapse = ", ") else "no arguments", ". It must be ", expected, ".")
}

# The environment in which a file has been evaluated, or a text that says what is wrong with the file.
source_file <- function(path) {
  scope <- new.env(parent = globalenv())
  tryCatch(
    {
      sys.source(path, envir = scope, chdir = FALSE, keep.source = TRUE)
      scope
    },
    error = function(e) conditionMessage(e)
  )
}

function_in <- function(scope, name) {
  found <- get0(name, envir = scope, inherits = FALSE)
  if (is.function(found)) return(found)
  known <- Filter(function(n) is.function(get(n, envir = scope)), ls(scope))
  paste0("has no function `", name, "`. ", suggest(name, known))
}

# The list of artifacts that a file defines for `spin`, or a text that says what is wrong with it.
given_artifacts <- function(scope, nested) {
  found <- get0("ARTIFACTS", envir = scope, inherits = FALSE)
  named <- function(x) is.list(x) && (!length(x) || !is.null(names(x)) && all(nzchar(names(x))))
  if (is.null(found)) return("must define a list of artifacts by name, ARTIFACTS <- list(...); it has none.")
  if (!named(found)) return(paste0("must define a list of artifacts by name, ARTIFACTS <- list(...); it has ", show_value(found), "."))
  for (name in intersect(names(found), nested)) {
    if (!named(found[[name]])) return(paste0("must give the inputs from ", name, " as a list of their artifacts by name."))
  }
  found
}

# Before tasks are forked: what each of them would load is there, what is there becomes old (R has two generations of
# old values), and the next collection is far away.
settle <- function() {
  rehearse()
  for (i in 1:2) gc(full = TRUE)
  invisible()
}

# A step that does nothing: R loads functions when they are first called, and a task would do so for itself alone.
rehearse <- function() {
  seed <- get0(".Random.seed", envir = globalenv(), inherits = FALSE)
  ready <- ready_step(function(self) NULL, "rehearsal", 0, NULL, NULL)
  tryCatch(eval(ready[[1L]], ready[[2L]]), finally = ended_step(NULL))
  if (!is.null(seed)) assign(".Random.seed", seed, envir = globalenv())
}
