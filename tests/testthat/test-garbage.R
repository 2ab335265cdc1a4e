# Old runs of one flow, made once per process: R's own values and a data frame, and runs that are protected.

flow_source_r <- '
library(metaflow)
metaflow("OldRFlow") |>
  parameter("size", default = 20000) |>
  step(step = "start", next_step = "end", r_function = function(self) {
    self$numbers <- as.numeric(seq_len(self$size))
    self$cars <- mtcars
    cat("made", self$size, "\\\\n")
  }) |>
  step(step = "end") |>
  run()
'

# Lets these runs, and all files, be old, and the database older.
make_old <- function(ids) {
  at <- (as.numeric(Sys.time()) - 100 * 86400)
  code <- c(
    "import os, sys",
    "from metaflow_core.metadata.backend import open_backend",
    "db, at = open_backend().db, float(sys.argv[1])",
    "for run in sys.argv[2:]:",
    "    db.execute('UPDATE runs SET created_at = ?, finished_at = ?, heartbeat_at = ? WHERE id = ?',",
    "               (int(at * 1e6),) * 3 + (run,))",
    "db.execute('UPDATE schema_migrations SET applied_at = 1000')",
    "for folder, _, files in os.walk('.metaflow'):",
    "    for file in files: os.utime(os.path.join(folder, file), (at, at))"
  )
  writeLines(code, "make_old.py")
  status <- system2(python_of_metaflow(), c("make_old.py", format(at, scientific = FALSE), ids))
  stopifnot(status == 0L)
}

test_that("old runs go, and the others keep all they have", {
  python_of_metaflow()
  folder <- withr::local_tempdir()
  dir.create(file.path(folder, ".metaflow"))
  withr::local_dir(folder)
  withr::local_envvar(METAFLOW_USER = "anne")
  writeLines(flow_source_r, "flow.R")
  for (arguments in list("--size=20000", c("--size=20001", "--tag=good"), "--size=20002")) {
    stopifnot(system2("Rscript", c("flow.R", "run", arguments), stdout = FALSE, stderr = FALSE) == 0L)
  }
  make_old(c("1", "2"))
  set_default_namespace()

  nothing <- collect_garbage()
  expect_s3_class(nothing, "metaflow_garbage")
  expect_equal(nothing$bytes, 0L)
  expect_equal(nrow(nothing$runs), 0L)
  expect_output(print(nothing), "There is nothing to remove.", fixed = TRUE)

  shown <- collect_garbage("90d", dry_run = TRUE)
  expect_true(shown$dry_run)
  expect_equal(shown$runs$run, "OldRFlow/1")
  expect_equal(shown$kept, list(tagged = 1L))
  expect_equal(shown$flows$runs, 1L)
  expect_equal(shown$parts$count[shown$parts$part == "files"], 1L)
  expect_gt(shown$bytes, 20000 * 8)
  expect_s3_class(shown$ended_before, "POSIXct")
  expect_equal(names(flow_client$new("OldRFlow")$runs), c("3", "2", "1"))

  done <- collect_garbage(as.difftime(90, units = "days"), flow = flow_client$new("OldRFlow"), status = "completed")
  expect_false(done$dry_run)
  expect_equal(done$runs, shown$runs)
  expect_equal(done$parts, shown$parts)
  expect_output(print(done), "OldRFlow: 1 run, 3 tasks", fixed = TRUE)

  flow <- flow_client$new("OldRFlow")
  expect_equal(names(flow$runs), c("3", "2"))
  for (run in flow$runs) {
    task <- run$step("start")$a_task
    expect_equal(task$artifact("cars"), mtcars)
    expect_equal(length(task$artifact("numbers")), 20000 + as.numeric(run$id) - 1)
    expect_match(task$stdout, "made")
  }
  expect_error(run_client$new("OldRFlow/1"), class = "metaflow_not_found")

  run_client$new("OldRFlow/2")$remove_tags("good")
  expect_equal(collect_garbage("12w", keep_last = 2)$kept, list(last = 1L))
  expect_equal(collect_garbage("12w", ignore_tags = "go*")$runs$run, "OldRFlow/2")
})

test_that("what makes no policy is an error, and removes nothing", {
  local_results("anne")
  expect_error(collect_garbage("soon"), "hours, days or weeks", class = "metaflow_error")
  expect_error(collect_garbage(90), "not 90. Nothing was removed", class = "metaflow_error")
  expect_error(collect_garbage("90d", flow = "NoFlow"), class = "metaflow_not_found")
  expect_error(collect_garbage("90d", status = "running"), "not 'running'", class = "metaflow_error")
  expect_error(collect_garbage("90d", keep_last = 1.5), "not 1.5", class = "metaflow_error")
  expect_error(collect_garbage("90d", dry_run = NA), "not NA", class = "metaflow_error")
  expect_error(collect_garbage(status = "failed"), "give older_than as well", class = "metaflow_error")
})
