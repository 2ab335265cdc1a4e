#' Errors
#'
#' Every error of the package is a condition of class `metaflow_error` and of a class of its own, so `tryCatch()` can tell
#' them apart. Flows in Python raise the exceptions of the same table. What the code of a step raises keeps the class it has.
#'
#' @section Classes:
#' - `metaflow_error`: The parent of all of them.
#' - `metaflow_command`: A command that can't be carried out as it was given.
#' - `metaflow_usage`: Wrong use of the command line.
#' - `metaflow_lint_warn`: The flow's graph, or a parameter of the flow, is invalid.
#' - `metaflow_invalid_next`: A transition that does not fit the flow.
#' - `metaflow_parameter_field_failed`: A function that computes a field of a parameter raised.
#' - `metaflow_parameter_field_type_mismatch`: A field of a parameter has the wrong type.
#' - `metaflow_bad_step_decorator`: A step decorator stands where there is no step.
#' - `metaflow_bad_flow_decorator`: A flow decorator stands where there is no flow.
#' - `metaflow_duplicate_step_decorator`: A decorator that may appear once was given twice for one step.
#' - `metaflow_duplicate_flow_decorator`: A decorator that may appear once was given twice for one flow.
#' - `metaflow_unknown_step_decorator`: No step decorator has this name.
#' - `metaflow_unknown_flow_decorator`: No flow decorator has this name.
#' - `metaflow_invalid_decorator_attribute`: A decorator does not take this argument, or not this value.
#' - `metaflow_data_missing`: Stored data that should be there is not.
#' - `metaflow_unserializable_value`: A value that can't be stored as an artifact. `path` leads to the bad element.
#' - `metaflow_unreadable_artifact`: A stored artifact that can't be read here: damaged, refused, or of a newer
#'   format.
#' - `metaflow_merge_artifacts`: `merge_artifacts` was used outside a join, or in a way that does not fit it.
#' - `metaflow_unhandled_in_merge_artifacts`: Artifacts differ between branches. `artifact_names` lists them.
#' - `metaflow_missing_in_merge_artifacts`: Artifacts named in `include` are in no branch. `artifact_names` lists
#'   them.
#' - `metaflow_not_found`: The object that was asked for does not exist.
#' - `metaflow_namespace_mismatch`: The object exists, but in another namespace.
#' - `metaflow_invalid_pathspec`: A pathspec with the wrong number of parts, or with a part that is no name.
#' - `metaflow_invalid_search`: A search for runs that can't be understood, or names what no run has.
#' - `metaflow_tagging_error`: A change of tags that is not allowed.
#' - `metaflow_unknown_user`: No user name could be determined.
#' - `metaflow_metadata`: The metadata database can't be used: unreachable, read-only, damaged or too new.
#' - `metaflow_storage`: The artifact store can't be used: unreachable, read-only or full.
#' - `metaflow_plugin`: No plugin that works provides what was asked for, or two provide it.
#' - `metaflow_timeout`: A step ran longer than its `@timeout`.
#' - `metaflow_failure_handled_by_catch`: What `@catch` stores when the task's process died without an exception.
#' - `metaflow_task_died`: A task's process ended without reporting a result.
#' - `metaflow_compute_unavailable`: The machines on which tasks were to run can't be reached, or can't run them.
#' - `metaflow_attempt_given_up`: An attempt has a result already, so that of a process taken for dead does not count.
#' - `metaflow_not_due`: Nothing that has ended leads to the task of a deployed flow that was started.
#' - `metaflow_incorrect_production_token`: Who deploys, or removes what is deployed, has not shown its production token.
#' - `metaflow_step_environment`: The packages of a step's own can't be had.
#' - `metaflow_run_failed`: The run did not succeed.
#' - `metaflow_internal`: A mistake of this package; please report it.
#' - `metaflow_invalid_argument`: A function was given what it does not take.
#' - `metaflow_attribute_error`: There is no artifact, input or field of this name, or it can't be set.
#' - `metaflow_unknown_member`: An object of the client has no field or method of this name.
#' - `metaflow_unchangeable`: An assignment to what can't be changed, such as the results of a run.
#' - `metaflow_python_not_available`: No Python with metaflow-tandem was found, or it can't be used.
#' - `metaflow_r_not_available`: R, rpy2 or this package can't be used by a flow in Python.
#' - `metaflow_task_error`: What [catch()] stores, and `task$exception`: the error that ended a task, whatever it was, with
#'   `type` and `stacktrace`. It is no `metaflow_error`.
#'
#' Any other exception of Python has a class made of its name, as `metaflow_value_error`.
#'
#' @examples
#' tryCatch(
#'   metaflow("HelloFlow") |> step(step = "start", next_stp = "end"),
#'   metaflow_invalid_argument = function(e) cat(conditionMessage(e), "\n")
#' )
#' @name metaflow_error
NULL

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
