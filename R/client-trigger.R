# What has started a run: the events, oldest first, and the database in which the runs among them are.
trigger_of <- function(run) {
  events <- call_core("client_trigger", run)
  if (is.null(events)) NULL else structure(list(events = events), class = "metaflow_trigger")
}

trigger_fields <- c("event", "events", "run", "runs")

#' @export
`$.metaflow_trigger` <- function(x, name) {
  events <- unclass(x)$events
  switch(name,
    events = events,
    event = events[[length(events)]],
    runs = triggering_runs(events),
    run = {
      runs <- triggering_runs(events)
      if (!is.null(runs)) runs[[length(runs)]]
    },
    stop_metaflow(
      paste0("AttributeError: a trigger has no `", name, "`. ", suggest(name, trigger_fields)),
      class = "metaflow_unknown_member"
    )
  )
}

triggering_runs <- function(events) {
  ends <- Filter(function(event) event$type == "run", events)
  if (length(ends)) lapply(ends, function(event) run_object(event$payload$pathspec))
}

#' @export
`[[.metaflow_trigger` <- function(x, i) if (is.numeric(i)) x$events[[i]] else eval(call("$", x, as.name(i)))

#' @export
names.metaflow_trigger <- function(x) trigger_fields

#' @export
length.metaflow_trigger <- function(x) length(unclass(x)$events)

#' @export
.DollarNames.metaflow_trigger <- function(x, pattern = "") grep(pattern, trigger_fields, value = TRUE)

#' @export
format.metaflow_trigger <- function(x, ...) {
  paste0("<trigger: ", paste(vapply(x$events, function(event) event$name, ""), collapse = ", "), ">")
}

#' @export
print.metaflow_trigger <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

#' @export
str.metaflow_trigger <- function(object, ...) cat("", format(object), "\n")

#' Publish an event
#'
#' It starts flows that are deployed to the local orchestrator with `trigger(event = name)`.
#'
#' @param name Name of the event, a text.
#' @param payload A named list of what JSON can express: texts, numbers, `TRUE` and `FALSE`, and lists of them. Fields of it
#'   can become parameters of the flow: see [trigger()].
#' @param id What tells the event from others of its name, a text; by default a new one. An event of the same name and id
#'   counts once.
#' @return The id, invisibly. What is no event is an error of class `metaflow_error`.
#' @examples
#' \donttest{
#' old <- setwd(tempdir()) # where the database of the examples lies
#' publish_event("data_updated", list(table = "sales", rows = 100))
#' setwd(old)
#' }
#' @export
publish_event <- function(name, payload = list(), id = NULL) {
  if (!is_string(name)) stop_metaflow("An event is named by one text.", class = "metaflow_invalid_argument")
  if (length(payload) && (is.null(names(payload)) || !all(nzchar(names(payload))))) {
    stop_metaflow("The payload of an event is a named list: list(rows = 100).", class = "metaflow_invalid_argument")
  }
  sync_environment()
  invisible(call_core("publish_event", name, as.list(payload), id))
}
