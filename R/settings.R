#' Settings
#'
#' Every setting of this project, its value and where it comes from, as `metaflow status --settings` shows them. Places, the
#' stronger first: the environment ([Sys.setenv()] counts), `.metaflow/config.json` of the project, your own file in
#' `METAFLOW_HOME`, the default. Options of a flow's command line that are set in one of these places are listed too.
#'
#' @return A data frame with a row for each: `setting` (such as `"METAFLOW_USER"`), `value` (a text, `NA` when there is
#'   none, with `***` instead of passwords and tokens), `from` (`"environment"`, the path of a file or `"default"`), `kind`
#'   (`"setting"`, `"option"`, or `"unknown"` for a name that means nothing), and `note` (what it is for, or what is wrong
#'   with it).
#' @examples
#' \dontrun{
#' subset(settings(), from != "default")
#' }
#' @export
settings <- function() {
  sync_environment()
  call_core("settings")
}

#' Plugins
#'
#' Every installed plugin, where it comes from and what is wrong with it, as `metaflow status --plugins` shows them. A plugin
#' is a Python package; what it adds is used from R as well: its decorators by [decorator()], its stores by their address in
#' `METAFLOW_DEFAULT_DATASTORE`. One that is broken is left out.
#'
#' @return A data frame with a row for each, in the order in which they are asked: `plugin`, `distribution` and `version` (of
#'   the Python package that it comes from), `module`, `hooks` (what it implements, separated by commas; `""` when it can't be
#'   loaded), and `problem` (sentences, `""` when there is none).
#' @examples
#' \dontrun{
#' subset(plugins(), problem != "")
#' }
#' @export
plugins <- function() {
  sync_environment()
  call_core("plugins")
}
