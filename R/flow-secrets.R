#' Secrets in the environment of a step
#'
#' They are fetched in the task, before its code starts, and put into the environment of that task alone: read them with
#' [Sys.getenv()]. Their values are shown as `***` in the log and in errors, unless they are shorter than four characters.
#' What your code stores in an artifact, it stores.
#'
#' A source is a text `"provider.name"`, or a list with `type` (the provider), `id` (the name), `options` and `role`.
#' Providers that are always there:
#'
#' * `env`: variables of the environment in which the run was started, `"env.DB_PASSWORD"`; options `names`, `prefix` or
#'   `mapping = list(PGPASSWORD = "DB_PASSWORD")`.
#' * `file`: a file of lines `NAME=value`, or a JSON object, `"file.~/.secrets/db.env"`; options `keys` and `format`.
#' * `inline`: `list(type = "inline", options = list(values = list(PGPASSWORD = "x")))`, for tests.
#' * `aws-secrets-manager`: `"aws-secrets-manager.my-secret"`, with `role` if need be; options `region`, `json`,
#'   `env_var_name`, `keys`, `version_id` and `version_stage`. It needs Python's boto3, which `metaflow-tandem[aws]` installs.
#'
#' @param ... Nothing: arguments are given by name, and a misspelt one is an error that suggests the right one.
#' @param sources One source, or a list of them.
#' @param role For providers that need one, the role with which they fetch.
#' @param allow_override Whether a variable that is there already, or that two sources give, is an error (`FALSE`) or is
#'   replaced (`TRUE`).
#' @return A decorator for [step()].
#' @examples
#' secrets(sources = "env.DB_PASSWORD")
#' secrets(sources = list("file.~/.secrets/db.env", list(type = "env", options = list(prefix = "PG"))))
#' @export
secrets <- function(..., sources = NULL, role = NULL, allow_override = FALSE) {
  decorate("secrets", list(...), sources = sources, role = role, allow_override = allow_override)
}

# What of `secrets()` is printed: where they come from, not the options, which may hold them.
shown_sources <- function(sources) {
  if (!is.list(sources)) return(sources)
  if (!is.null(names(sources))) sources <- list(sources)
  lapply(sources, function(source) {
    if (is.list(source)) paste(c(source$type, source$id), collapse = ".") else source
  })
}
