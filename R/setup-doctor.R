#' What is installed, and whether it fits
#'
#' @return `doctor()` gives a data frame of what was looked at, invisibly, and prints it: R, the R package, Python, rpy2,
#'   and how they fit together, with what to do where they do not. It starts no Python that does not fit.
#' @examples
#' \dontrun{
#' doctor()
#' }
#' @export
doctor <- function() {
  found <- rbind(check_r(), check_packages(), check_python())
  class(found) <- c("metaflow_doctor", "data.frame")
  print(found)
  invisible(found)
}

finding <- function(what, state, found, advice = "") {
  data.frame(what = what, state = state, found = found, advice = advice)
}

check_r <- function() {
  version <- getRversion()
  state <- if (version >= "4.1.0") "good" else "bad"
  found <- finding("R", state, paste0(version, " at ", R.home()), if (state == "bad") "Install R 4.1 or newer." else "")
  utf8 <- isTRUE(l10n_info()[["UTF-8"]])
  rbind(found, finding(
    "locale", if (utf8) "good" else "note", Sys.getlocale("LC_CTYPE"),
    if (utf8) "" else "Text beyond ASCII prints best in a UTF-8 locale: set LANG, such as LANG=C.UTF-8."
  ))
}

check_packages <- function() {
  needed <- c("cli", "magrittr", "rlang")
  useful <- c(bit64 = "integers beyond 32 bits", Matrix = "sparse matrices", reticulate = "Python objects in R")
  rows <- lapply(c(needed, names(useful)), function(package) {
    version <- tryCatch(as.character(utils::packageVersion(package)), error = function(e) NA)
    must <- package %in% needed
    if (!is.na(version)) return(finding(paste("R package", package), "good", version))
    finding(
      paste("R package", package), if (must) "bad" else "note", "not installed",
      paste0("install.packages(\"", package, "\")", if (must) "" else paste0(" if you need it: ", useful[[package]], "."))
    )
  })
  do.call(rbind, rows)
}

check_python <- function() {
  running <- if (is.null(the$python)) python_of_reticulate() else the$python
  found <- if (is.null(running)) tryCatch(find_python(), error = function(e) e) else running
  if (inherits(found, "error")) {
    candidates <- python_candidates()
    chosen <- intersect(names(candidates), chosen_by)
    if (length(chosen)) {
      advice <- paste0("Sys.unsetenv(\"", chosen[[1L]], "\"), or correct it; then install_metaflow() if need be.")
      return(finding("Python", "bad", conditionMessage(found), advice))
    }
    looked <- paste0(candidates, " (", names(candidates), ")", collapse = ", ")
    return(finding("Python", "bad", paste("none; looked for", looked), "Call install_metaflow(), or set METAFLOW_PYTHON."))
  }
  facts <- tryCatch(python_facts(found), error = function(e) e)
  if (inherits(facts, "error")) return(finding("Python", "bad", found, rlang::cnd_message(facts)))
  rows <- finding("Python", "good", paste0(facts$version, " at ", found))
  versions <- python_versions(found)
  of_rpy2 <- names(rpy2_of_old_r)
  pip <- paste(shQuote(found), "-m pip install")
  for (package in c("metaflow-tandem", of_rpy2, "pyarrow", "numpy")) {
    version <- versions[[package]]
    advice <- paste(c(pip, if (package %in% of_rpy2) rpy2_for(getRversion()) else package), collapse = " ")
    rows <- rbind(rows, if (is.null(version)) {
      finding(paste("Python package", package), "bad", "not installed", paste("Call install_metaflow(), or:", advice))
    } else if (package %in% of_rpy2 && !rpy2_fits(package, version, getRversion())) {
      finding(paste("Python package", package), "bad", paste0(version, ", which does not fit R ", getRversion()), advice)
    } else {
      finding(paste("Python package", package), "good", version)
    })
  }
  ours <- as.character(utils::packageVersion("metaflow"))
  theirs <- versions[["metaflow-tandem"]]
  if (!is.null(theirs) && theirs != ours) {
    rows <- rbind(rows, finding(
      "versions", "bad", paste0("the R package is ", ours, ", metaflow-tandem in Python is ", theirs), paste0(
        "Make them the same: ", pip, " metaflow-tandem==", ours, ", or in the source of that version: R CMD INSTALL ."
      )
    ))
  }
  if (all(rows$state == "good")) rows <- rbind(rows, check_bridge())
  rows
}

# Starts Python, unless it runs.
check_bridge <- function() {
  tryCatch(
    {
      start_python()
      finding("bridge", "good", "R and Python work together")
    },
    error = function(e) finding("bridge", "bad", conditionMessage(e), "Call install_metaflow(force = TRUE) in a new session.")
  )
}

# The last of rpy2 that goes with an R before 4.5: newer ones need a function that R has from then on.
rpy2_of_old_r <- c(rpy2 = "3.6.4", `rpy2-rinterface` = "3.6.5", `rpy2-robjects` = "3.6.4")

# What to ask pip for, given the version of R.
rpy2_for <- function(r) {
  if (r < "4.5.0") paste0(names(rpy2_of_old_r), "==", rpy2_of_old_r) else "rpy2"
}

rpy2_fits <- function(package, version, r) {
  numbers <- numeric_version(sub("[^0-9.].*$", "", version), strict = FALSE)
  r >= "4.5.0" || isTRUE(numbers <= rpy2_of_old_r[[package]])
}

# The versions of Python packages, asked of that Python.
python_versions <- function(python) {
  code <- paste(
    "import importlib.metadata as m",
    "print('\\n'.join(f'{d.metadata[\"Name\"]} {d.version}' for d in m.distributions()))",
    sep = "\n"
  )
  file <- tempfile(fileext = ".py")
  on.exit(unlink(file))
  writeLines(code, file)
  answer <- run_python(python, shQuote(file), stderr = FALSE)
  parts <- strsplit(answer[grepl(" ", answer)], " ", fixed = TRUE)
  versions <- lapply(parts, function(part) part[[2L]])
  names(versions) <- tolower(vapply(parts, function(part) part[[1L]], ""))
  versions
}

#' @export
print.metaflow_doctor <- function(x, ...) {
  marks <- c(good = cli::col_green("ok  "), note = cli::col_yellow("note"), bad = cli::col_red("BAD "))
  for (i in seq_len(nrow(x))) {
    cat(marks[[x$state[[i]]]], " ", formatC(x$what[[i]], width = -30L), " ", x$found[[i]], "\n", sep = "")
    if (nzchar(x$advice[[i]])) cat("     ", x$advice[[i]], "\n", sep = "")
  }
  invisible(x)
}

#' Versions
#'
#' @return `version_info()` gives the versions of R, Python and what joins them, as a named list, and prints them;
#'   `r_version()` that of R, as a text.
#' @examples
#' r_version()
#' @export
version_info <- function() {
  versions <- call_core("versions")
  found <- c(list(r = r_version(), r_package = as.character(utils::packageVersion("metaflow"))), as.list(versions))
  cat(paste0(formatC(names(found), width = -12L), " ", unlist(found)), sep = "\n")
  invisible(found)
}

#' @rdname version_info
#' @export
r_version <- function() paste(R.version$major, R.version$minor, sep = ".")
