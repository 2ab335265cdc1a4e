# Finds Python and starts it in this process. When reticulate has started one already, that one is used.
#
# Starting it takes three functions of libpython, called by name. reticulate could do it too, but loading and
# configuring it takes over a second, which every `Rscript flow.R` would pay.

start_python <- function() {
  if (length(the$core) > 0L) return(invisible())
  Sys.setenv(R_SESSION_INITIALIZED = paste0("PID=", Sys.getpid(), ":NAME=\"metaflow\""))
  use_utf8()
  running <- python_of_reticulate()
  if (!is.null(running)) {
    reticulate::py_run_string(boot_code())
    the$python <- running
  } else {
    facts <- python_facts(find_python())
    boot_python(facts)
    the$python <- facts$executable
    # reticulate, should it be loaded later, must join this Python.
    if (!nzchar(Sys.getenv("RETICULATE_PYTHON"))) Sys.setenv(RETICULATE_PYTHON = facts$executable)
  }
  problem <- Sys.getenv("METAFLOW_BOOT_PROBLEM")
  Sys.unsetenv("METAFLOW_BOOT_PROBLEM")
  if (length(the$core) == 0L) {
    if (!nzchar(problem)) problem <- "it did not start."
    stop_metaflow(
      if (is.null(running)) {
        c(
          paste0("The Python at ", the$python, " can't be used: ", problem),
          i = "`doctor()` says what does not fit. `install_metaflow()` makes an environment that does."
        )
      } else {
        c(paste0("reticulate has started the Python at ", running, ", which can't be used: ", problem), i = other_python(running))
      },
      class = "metaflow_python_not_available"
    )
  }
  invisible()
}

# The Python that reticulate has started, or NULL.
python_of_reticulate <- function() {
  if ("reticulate" %in% loadedNamespaces() && reticulate::py_available(initialize = FALSE)) reticulate::py_config()$python
}

# What to do about a Python that runs already, and does not fit: a process can have only one.
other_python <- function(running) {
  candidates <- python_candidates()
  fit <- setdiff(candidates[file.exists(candidates)], running)
  again <- "Start R again, and then, before Python is used:"
  if (length(fit)) return(paste0(again, " Sys.setenv(RETICULATE_PYTHON = \"", fit[[1L]], "\")"))
  paste(again, "metaflow::install_metaflow()")
}

# Texts are UTF-8 in the locale "C" too, which is that of cron and of containers, as they are for a Python that starts by
# itself. Both languages read it from the environment.
use_utf8 <- function() {
  if (!Sys.getlocale("LC_CTYPE") %in% c("C", "POSIX")) return(invisible())
  variable <- if (nzchar(Sys.getenv("LC_ALL"))) "LC_ALL" else "LC_CTYPE"
  for (name in c("C.UTF-8", "en_US.UTF-8")) {
    if (nzchar(suppressWarnings(Sys.setlocale("LC_CTYPE", name)))) {
      return(invisible(do.call(Sys.setenv, stats_names(list(name), variable))))
    }
  }
}

boot_code <- function() {
  "
try:
    import metaflow_r.session as _metaflow_session
    _metaflow_session.start()
except BaseException as _error:
    import os
    os.environ['METAFLOW_BOOT_PROBLEM'] = f'{type(_error).__name__}: {_error}'.replace(chr(0), ' ')
"
}

boot_python <- function(facts) {
  library <- tryCatch(dyn.load(facts$library, local = FALSE, now = FALSE), error = function(e) {
    stop_metaflow(
      c(
        paste0("The library of Python can't be loaded: ", conditionMessage(e)),
        i = "Choose another Python with METAFLOW_PYTHON, or call `install_metaflow()`."
      ),
      class = "metaflow_python_not_available"
    )
  })
  symbol <- function(name) getNativeSymbolInfo(name, library)
  # For processes that Python code starts; an R that it starts sets its own again.
  path <- libpython_path()
  if (nzchar(path)) Sys.setenv(LD_LIBRARY_PATH = path) else Sys.unsetenv("LD_LIBRARY_PATH")
  # Names the interpreter, so that it finds its virtual environment.
  program <- writeBin(c(utf8ToInt(enc2utf8(facts$executable)), 0L), raw(), size = 4L)
  .C(symbol("Py_SetProgramName"), program)
  .C(symbol("Py_Initialize"))
  .C(symbol("PyRun_SimpleString"), c(charToRaw(enc2utf8(boot_code())), as.raw(0L)))
  invisible()
}

# Candidates in the order in which they are tried: what was chosen, what `make setup` recorded, the virtual environment
# that `install_metaflow()` makes.
python_candidates <- function() {
  recorded <- unlist(lapply(python_records(), function(file) if (file.exists(file)) readLines(file, n = 1L, warn = FALSE)))
  candidates <- c(
    METAFLOW_PYTHON = Sys.getenv("METAFLOW_PYTHON"),
    RETICULATE_PYTHON = Sys.getenv("RETICULATE_PYTHON"),
    if (length(recorded)) stats_names(recorded, "recorded by make setup"),
    "virtual environment" = python_in(metaflow_env())
  )
  candidates[nzchar(candidates)]
}

stats_names <- function(x, name) {
  names(x) <- rep(name, length(x))
  x
}

python_records <- function() {
  c(
    system.file("python.txt", package = "metaflow"),
    file.path(tools::R_user_dir("metaflow", "config"), "python.txt")
  )
}

metaflow_env <- function() {
  root <- Sys.getenv("WORKON_HOME", unset = file.path(path.expand("~"), ".virtualenvs"))
  file.path(root, "r-metaflow")
}

python_in <- function(env) {
  file.path(env, if (.Platform$OS.type == "windows") "Scripts/python.exe" else "bin/python")
}

# What chooses a Python by name, and is taken at its word.
chosen_by <- c("METAFLOW_PYTHON", "RETICULATE_PYTHON")

find_python <- function() {
  candidates <- python_candidates()
  chosen <- candidates[names(candidates) %in% chosen_by]
  if (length(chosen) && !file.exists(chosen[[1L]])) {
    stop_metaflow(
      paste0(names(chosen)[1L], " is ", chosen[[1L]], ", which does not exist."),
      class = "metaflow_python_not_available"
    )
  }
  found <- candidates[file.exists(candidates)]
  if (length(found) == 0L) {
    stop_metaflow(
      c(
        "No Python for metaflow was found.",
        i = "Call `install_metaflow()` to set one up, or set METAFLOW_PYTHON to a Python that has metaflow-tandem."
      ),
      class = "metaflow_python_not_available"
    )
  }
  found[[1L]]
}

# Where the library of a Python is. Asking takes a process, so the answer is kept.
python_facts <- function(python) {
  cache <- file.path(tools::R_user_dir("metaflow", "cache"), "python.rds")
  key <- paste(python, unclass(file.mtime(python)), utils::packageVersion("metaflow"))
  known <- tryCatch(suppressWarnings(readRDS(cache)), error = function(e) list())
  if (is.list(known[[key]]) && file.exists(known[[key]]$library)) return(known[[key]])
  facts <- ask_python(python)
  if (!file.exists(facts$library)) {
    stop_metaflow(
      c(
        paste0("The Python at ", python, " has no shared library, so R can't load it."),
        i = "On Debian and Ubuntu install libpython3-dev; with pyenv build it with PYTHON_CONFIGURE_OPTS=--enable-shared."
      ),
      class = "metaflow_python_not_available"
    )
  }
  known[[key]] <- facts
  try(
    {
      dir.create(dirname(cache), recursive = TRUE, showWarnings = FALSE)
      saveRDS(known[max(1L, length(known) - 9L):length(known)], cache)
    },
    silent = TRUE
  )
  facts
}

# R puts directories of its own in front of where libraries are looked for. A Python that is started from R would find
# the libpython of another Python there.
libpython_path <- function() {
  own <- c(R.home("lib"), strsplit(Sys.getenv("R_LD_LIBRARY_PATH"), ":", fixed = TRUE)[[1L]])
  parts <- strsplit(Sys.getenv("LD_LIBRARY_PATH"), ":", fixed = TRUE)[[1L]]
  system <- c("/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/usr/local/lib")
  java <- grepl("/jvm/|/java", parts)
  paste(parts[!parts %in% c(own, system) & !java & nzchar(parts)], collapse = ":")
}

run_python <- function(python, arguments, stderr) {
  path <- libpython_path()
  old <- Sys.getenv("LD_LIBRARY_PATH", unset = NA)
  if (nzchar(path)) Sys.setenv(LD_LIBRARY_PATH = path) else Sys.unsetenv("LD_LIBRARY_PATH")
  on.exit(if (is.na(old)) Sys.unsetenv("LD_LIBRARY_PATH") else Sys.setenv(LD_LIBRARY_PATH = old))
  suppressWarnings(system2(python, arguments, stdout = TRUE, stderr = stderr))
}

ask_python <- function(python) {
  code <- paste(
    "import os, sys, sysconfig as s",
    "v = s.get_config_vars()",
    "d = [v.get('LIBDIR') or '', os.path.join(v.get('LIBDIR') or '', v.get('MULTIARCH') or ''), v.get('LIBPL') or '']",
    "n = [v.get('INSTSONAME') or '', v.get('LDLIBRARY') or '']",
    "f = [os.path.join(a, b) for a in d for b in n if a and b.find('.so') + b.find('.dylib') > 0]",
    "print(next((p for p in f if os.path.exists(p)), ''))",
    "print(sys.version.split()[0])",
    sep = "\n"
  )
  file <- tempfile(fileext = ".py")
  on.exit(unlink(file))
  writeLines(code, file)
  answer <- run_python(python, c("-I", shQuote(file)), stderr = TRUE)
  if (!is.null(attr(answer, "status")) || length(answer) < 2L) {
    stop_metaflow(
      paste0("The Python at ", python, " does not start: ", paste(answer, collapse = " ")),
      class = "metaflow_python_not_available"
    )
  }
  list(executable = python, library = answer[[1L]], version = answer[[2L]])
}
