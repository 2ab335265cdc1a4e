test_that("runs are a list of run objects, the newest first, by id", {
  local_results("anne")
  runs <- flow_client$new("PredictionFlow")$runs
  expect_length(runs, 5)
  expect_equal(names(runs), c("8", "7", "6", "3", "1"))
  expect_true(runs[[1]] == "8")
  expect_true(runs[["3"]] == "3")
  expect_s3_class(runs[[1]], "run_client")
  expect_equal(vapply(runs, function(run) run$status, ""), setNames(rep("completed", 5), names(runs)))
  seen <- character()
  for (run in runs) seen <- c(seen, run$id)
  expect_equal(seen, names(runs))
  expect_equal(unname(unlist(runs))[1:2], c("PredictionFlow/8", "PredictionFlow/7"))
  expect_equal(names(runs[2:3]), c("7", "6"))
  expect_equal(names(Filter(function(run) run$id > "6", runs)), c("8", "7"))
  expect_equal(names(rev(runs))[1], "1")
  expect_equal(names(head(runs, 2)), c("8", "7"))
  expect_equal(names(c(runs[1], runs[3])), c("8", "6"))
  expect_equal(names(c(runs[[1]], runs[[2]])), c("8", "7"))
})

test_that("a list of runs is a table", {
  local_results("anne")
  set_namespace(NULL)
  table <- as.data.frame(flow_client$new("FeatureFlow")$runs)
  expect_s3_class(table, "data.frame")
  expect_equal(names(table), c("flow", "id", "status", "created_at", "finished_at", "user", "tags"))
  expect_equal(table$id, c("4", "3", "2", "1"))
  expect_equal(table$status, c("failed", "completed", "completed", "completed"))
  expect_equal(table$user, c("anne", "will", "anne", "will"))
  expect_equal(table$tags[[3]], c("crazy_test", "xyz_features"))
  expect_s3_class(table$created_at, "POSIXct")
  expect_equal(table[table$user == "will", "id"], c("3", "1"))
  both <- c(flow_client$new("FeatureFlow")$runs[2], flow_client$new("PredictionFlow")$runs[1:2], flow_client$new("FeatureFlow")$runs[1])
  expect_equal(as.data.frame(both)$flow, c("FeatureFlow", "PredictionFlow", "PredictionFlow", "FeatureFlow"))
  expect_equal(as.data.frame(both)$id, c("3", "8", "7", "4"))
  expect_equal(as.data.frame(run_client$new("FeatureFlow/2"))$id, "2")
})

test_that("a list prints as a table, and a long one in part", {
  local_results("anne")
  runs <- flow_client$new("PredictionFlow")$runs
  times <- function(lines) gsub("\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d", "<time>", lines)
  expect_snapshot(runs, transform = times)
  expect_snapshot(print(runs, n = 2), transform = times)
  expect_snapshot(runs[[1]]$steps, transform = times)
  expect_snapshot(runs[[1]]$step("double")$tasks, transform = times)
  expect_snapshot(runs[[1]]$step("start")$a_task$artifacts)
})

test_that("a notebook shows a list as a table, and one object as its pathspec", {
  skip_if_not_installed("repr")
  local_results("anne")
  runs <- flow_client$new("PredictionFlow")$runs
  html <- repr::repr_html(runs)
  expect_match(html, "<table", fixed = TRUE)
  expect_match(html, "completed", fixed = TRUE)
  expect_null(repr::repr_html(runs[[1]]))
  expect_equal(repr::repr_text(runs[[1]]), "PredictionFlow/8")
  expect_null(repr::repr_html(runs[0]))
})

test_that("an element that is not there is an error", {
  local_results("anne")
  runs <- flow_client$new("PredictionFlow")$runs
  for (place in list(0, -1, 6, NA, "2", c(1, 2), NULL, character())) {
    expect_error(runs[[place]], class = "metaflow_not_found")
  }
})

test_that("a table of a thousand runs takes a few queries, not one per run", {
  project <- withr::local_tempdir()
  code <- c(
    "from metaflow_core.metadata.backend import open_backend",
    "from metaflow_core.metadata.recording import NewRun, create_run",
    "backend = open_backend()",
    "for i in range(1000):",
    "    create_run(backend.db, backend.storage, NewRun('Big', 'anne', 'user:anne', ['user:anne'], [f'tag{i % 3}']))"
  )
  dir.create(file.path(project, ".metaflow"))
  python <- python_of_metaflow()
  withr::with_dir(project, {
    writeLines(code, "make.py")
    expect_equal(system2(python, "make.py"), 0L)
  })
  local_results("anne", project = project)
  runs <- flow_client$new("Big")$runs
  calls <- 0L
  real <- metaflow:::the$core[["client_table"]]
  withr::defer(assign("client_table", real, envir = metaflow:::the$core))
  assign("client_table", function(...) {
    calls <<- calls + 1L
    real(...)
  }, envir = metaflow:::the$core)
  table <- as.data.frame(runs)
  expect_equal(calls, 1L)
  expect_equal(dim(table), c(1000L, 7L))
  expect_equal(table$id, as.character(1000:1))
  expect_equal(table$tags[[1000]], "tag0")
  expect_true(all(is.na(table$finished_at)))
  expect_equal(length(flow_client$new("Big")$runs_with_tags("tag1")), 333L)
})

test_that("flows of the namespace are listed", {
  local_results("anne")
  expect_equal(list_flows(), c("FeatureFlow", "PredictionFlow"))
  root <- mf_client$new()
  expect_equal(names(root$flows), list_flows())
  expect_identical(root$flow("FeatureFlow"), flow_client$new("FeatureFlow"))
  expect_output(print(root), "2 flows in the namespace \"user:anne\"")
  expect_equal(as.data.frame(root$flows)$latest_run, c("4", "8"))
  expect_error(root$flos, "flows", class = "metaflow_unknown_member")
})
