# The code of a run or a task: the object itself, of another class.

code_fields <- c("complete", "script_name", "flowspec", "path", "info", "files")
code_members <- c(code_fields, "extract")

# NULL when nothing of it was recorded.
code_of <- function(x) {
  if (!call_core("code_exists", x)) return(NULL)
  structure(as.character(x), class = "metaflow_code", scope = attr(x, "scope"), attempt = attr(x, "attempt"))
}

extract_code <- function(x, folder, overwrite) {
  if (is.null(folder)) {
    folder <- tempfile("metaflow-code-")
  } else if (!is_string(folder) || !nzchar(folder)) {
    stop_metaflow(
      paste0("`folder` is the path of a directory, not ", show_value(folder), "."),
      class = "metaflow_invalid_argument"
    )
  }
  if (!isTRUE(overwrite) && !isFALSE(overwrite)) {
    stop_metaflow(
      paste0("`overwrite` is TRUE or FALSE, not ", show_value(overwrite), "."),
      class = "metaflow_invalid_argument"
    )
  }
  folder <- path.expand(folder)
  call_core("code_extract", x, normalizePath(folder, mustWork = FALSE), overwrite)
  invisible(folder)
}

#' @export
`$.metaflow_code` <- function(x, name) {
  if (name %in% code_fields) return(call_core("code_member", x, name))
  if (name == "extract") return(function(folder = NULL, overwrite = FALSE) extract_code(x, folder, overwrite))
  stop_metaflow(
    paste0("AttributeError: the code of a run has no `", name, "`. ", suggest(name, code_members)),
    class = "metaflow_unknown_member"
  )
}

#' @export
`[[.metaflow_code` <- function(x, i, ...) `$.metaflow_code`(x, i)

#' @export
.DollarNames.metaflow_code <- function(x, pattern = "") grep(pattern, code_members, value = TRUE)

#' @export
format.metaflow_code <- function(x, ...) {
  info <- x$info
  count <- paste(info$files, if (info$files == 1L) "file" else "files")
  kind <- if (info$complete) count else paste0(count, ", those that were recorded")
  paste0("<code of ", as.vector(unclass(x)), ": ", if (is.null(info$script)) "a session" else info$script, "; ", kind, ">")
}

#' @export
print.metaflow_code <- function(x, ...) {
  cli::cat_line(format(x))
  invisible(x)
}

#' @importFrom utils str
#' @export
str.metaflow_code <- function(object, ...) cat(" ", format(object), "\n", sep = "")

#' The code of a run
#'
#' `run$code` and `task$code` are the code as it was when the run started. After `run(flow, package_code = TRUE)` it is the
#' whole project; otherwise it is the script, and the files that its steps name. It is `NULL` when nothing was recorded.
#'
#' The project is the nearest directory, from the script upward, with a file `.metaflow-root`, `DESCRIPTION`, `renv.lock`,
#' `pyproject.toml`, `.git`, or one that ends in `.Rproj`; else that of the script. Sources in R and Python are taken from
#' it, and files with an ending in `package_suffixes = ".csv,.sql"`, but nothing that is hidden or named in `.gitignore`.
#' `run(flow, package = "list")` lists the files, and `run(flow, package = c("save", "code.tar.gz"))` saves them.
#'
#' @section Fields:
#' - `complete`: whether it is the whole project.
#' - `script_name`: the path of the script in it, as `"flows/train.R"`; `NULL` for a flow of a session.
#' - `flowspec`: the text of the script.
#' - `files`: the paths of all files, a character vector.
#' - `info`: a list of `complete`, `script`, `files` (how many) and, of a whole project, `working_directory` (where the run
#'   was started), `size` in bytes, `suffixes`, `key`.
#' - `path`: where the package is in the artifact store; `NULL` when files were only recorded.
#'
#' @section Methods:
#' - `extract(folder = NULL, overwrite = FALSE)`: writes the files into a directory, by default a new temporary one, and
#'   returns its path. When a file is there with another content, nothing is written, and that is an error, unless
#'   `overwrite` is `TRUE`.
#'
#' @examples
#' \dontrun{
#' code <- run_client$new("PredictionFlow/7")$code
#' code$files
#' cat(code$flowspec)
#' folder <- code$extract()
#' list.files(folder, recursive = TRUE)
#' }
#' @name run_code
NULL
