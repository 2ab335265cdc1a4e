#' Which results are read
#'
#' The client reads the results of the project that the working directory is in, or what the settings say.
#' `set_metadata()` chooses others. Objects that exist already keep theirs.
#'
#' @param metadata A directory that holds `.metaflow` (`"local@@/home/anne/project"`, or the path alone), or the URL of a
#'   database (`"sqlite:////home/anne/project/.metaflow/metaflow.db"`, `"postgresql://..."`).
#' @return A text that describes what is read from now on, without a password; invisibly by those that change it.
#' @examples
#' \dontrun{
#' set_metadata("local@@/home/anne/project")
#' set_metadata("postgresql://anne@@db.example.org/metaflow")
#' }
#' \donttest{
#' get_metadata()
#' reset_default_metadata()
#' }
#' @export
set_metadata <- function(metadata) {
  if (missing(metadata) || !is_string(metadata)) {
    shown <- if (missing(metadata)) "nothing" else show_value(metadata)
    stop_metaflow(paste0("set_metadata() needs a directory, or the URL of a database, and got ", shown, "."))
  }
  sync_environment()
  invisible(call_core("metadata", metadata))
}

#' @rdname set_metadata
#' @export
get_metadata <- function() {
  sync_environment()
  call_core("get_metadata")
}

#' @rdname set_metadata
#' @export
reset_default_metadata <- function() {
  sync_environment()
  invisible(call_core("default_metadata"))
}

#' Results of steps that were tried
#'
#' Lets the client read what `spin` has kept, from now on: `Rscript flow.R spin train --persist`, or
#' `run(flow, spin = "train", persist = TRUE)`. [reset_default_metadata()] goes back to the results of runs.
#'
#' @param datastore_root The directory in which the step was tried, which has the folder `.metaflow_spin`.
#' @return `NULL`, invisibly. An error of class `metaflow_error` when nothing was kept there.
#' @examples
#' \dontrun{
#' inspect_spin(".")
#' flow_client$new("TrainFlow")$latest_run$step("train")$a_task$data$model
#' reset_default_metadata()
#' }
#' @export
inspect_spin <- function(datastore_root = ".") {
  if (!is_string(datastore_root)) {
    stop_metaflow(
      paste0("inspect_spin() takes a directory, not ", show_value(datastore_root), "."),
      class = "metaflow_invalid_argument"
    )
  }
  sync_environment()
  invisible(call_core("inspect_spin", path.expand(datastore_root)))
}
