#' Let a flow belong to a project
#'
#' Flows of one project can be deployed side by side, each in branches that do not disturb each other. The branch is
#' `user.<name>`, or what the options before the command say: `--branch B` is `test.B`, `--production` is `prod`, and both
#' are `prod.B`. In R: `run(branch = "B", production = TRUE)`. Tasks find it in [current()]: `project_name`, `branch_name`,
#' `is_production`, `is_user_branch` and `project_flow_name`; runs have it in the tags `project:` and `project_branch:`.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param name Name of the project: lowercase letters, digits and underscores, at most 128 characters.
#' @param branch,production What the options of that name say, for who does not want to type them.
#' @return A decorator for [metaflow()].
#' @examples
#' metaflow("ProjectFlow", project(name = "example_project"))
#' @export
project <- function(..., name = NULL, branch = NULL, production = FALSE) {
  decorate("project", list(...), name = name, branch = branch, production = production)
}

#' When a deployed flow starts
#'
#' It has an effect when the flow is deployed, and none on [run()]. Without arguments it is daily, at midnight.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param hourly,daily,weekly `TRUE` for one of them.
#' @param cron A cron expression: `"0 10 * * 1-5"`, with minute, hour, day of the month, month and day of the week, or the
#'   six fields of AWS, `"0 10 ? * MON-FRI *"`.
#' @param timezone A name such as `"Europe/Berlin"`; by default UTC.
#' @return A decorator for [metaflow()].
#' @examples
#' schedule(hourly = TRUE)
#' schedule(cron = "0 10 * * 1-5", timezone = "Europe/Berlin")
#' @export
schedule <- function(..., hourly = NULL, daily = NULL, weekly = NULL, cron = NULL, timezone = NULL) {
  decorate(
    "schedule", list(...),
    hourly = hourly, daily = daily, weekly = weekly, cron = cron, timezone = timezone
  )
}

#' Start a deployed flow by events
#'
#' They have an effect when the flow is deployed. All events, or flows, of one decorator must have come; when there are
#' several decorators, any of them starts the flow.
#'
#' What has started a run is in `current("trigger")` and in [`run$trigger`][run_client], which are `NULL` when it was a
#' person or a schedule. It has the fields `event` (the latest), `events`, `run` (whose end was the event, the latest) and
#' `runs`. An event is a list of `name`, `id`, `timestamp`, `type` (`"run"` or `"event"`) and `payload`. A flow with
#' `trigger_on_finish()` can be tried with `run(trigger = "TrainFlow/5")`, as if that run had started it.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param event Name of an event, or a list of `name` and `parameters`: which field of the event's payload is which
#'   parameter of the flow, as in `list(alpha = "field")`, or a vector of names that both have.
#' @param events A vector, or a list, of several.
#' @param flow Name of a flow, whose successful end is the event. In a [project] it is that of the same project and branch,
#'   unless it is named in full: `"my_project.prod.TrainFlow"`, or `list(name = "TrainFlow", project_branch = "prod")`.
#' @param flows A vector, or a list, of several.
#' @param options A list of what a certain orchestrator understands.
#' @return A decorator for [metaflow()].
#' @examples
#' trigger(event = "data_updated")
#' trigger(events = list("a", list(name = "b", parameters = list(alpha = "field"))))
#' trigger_on_finish(flow = "TrainFlow")
#' @export
trigger <- function(..., event = NULL, events = NULL, options = NULL) {
  decorate("trigger", list(...), event = event, events = events, options = options)
}

#' @rdname trigger
#' @export
trigger_on_finish <- function(..., flow = NULL, flows = NULL, options = NULL) {
  decorate("trigger_on_finish", list(...), flow = flow, flows = flows, options = options)
}
