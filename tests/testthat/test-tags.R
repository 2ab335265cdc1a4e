test_that("runs_with_tags finds runs that have all tags, the newest first, within the namespace", {
  local_results("anne")
  run <- flow_client$new("FeatureFlow")$runs_with_tags("crazy_test")[[1]]
  expect_equal(as.character(run), "FeatureFlow/2")
  date <- grep("^date:", run$tags, value = TRUE)
  expect_true(flow_client$new("FeatureFlow")$runs_with_tags("crazy_test", date)[[1]] == run)
  expect_true(flow_client$new("FeatureFlow")$runs_with_tags(c("crazy_test", date))[[1]] == run)

  set_namespace(NULL)
  flow <- flow_client$new("FeatureFlow")
  expect_equal(names(flow$runs_with_tags("crazy_test")), c("3", "2", "1"))
  expect_equal(names(flow$runs_with_tags("crazy_test", "xyz_features")), "2")
  expect_length(flow$runs_with_tags("crazy_test", "nobody_has_this"), 0)
})

test_that("a list without runs says what was looked for", {
  local_results("anne")
  none <- flow_client$new("FeatureFlow")$runs_with_tags("nobody_has_this")
  expect_snapshot(none)
  expect_snapshot(none[[1]], error = TRUE)
  expect_equal(nrow(as.data.frame(none)), 0)
  expect_equal(names(as.data.frame(none)), names(as.data.frame(flow_client$new("FeatureFlow")$runs)))
})

test_that("tags are those that people gave and those of the system", {
  local_results("anne")
  run <- run_client$new("FeatureFlow/2")
  expect_equal(run$user_tags, c("crazy_test", "xyz_features"))
  expect_true(all(c("user:anne", "runtime:dev") %in% run$system_tags))
  expect_setequal(run$tags, c(run$user_tags, run$system_tags))
  expect_equal(run$step("start")$tags, run$tags)
  expect_equal(run$end_task$artifacts$greeting$user_tags, run$user_tags)
  expect_equal(run$parent$tags, character())
})

test_that("tags change, and the changes are kept", {
  local_results("anne", project = of_tags())
  run <- run_client$new("TagFlow/1")
  created <- run$created_at
  expect_identical(run$add_tags("a", c("b", "c")), run)
  expect_equal(run$user_tags, c("a", "b", "c"))
  run$add_tag("a")
  run$remove_tag("b")
  run$remove_tags(c("c", "never_there"))
  expect_equal(run$user_tags, "a")
  run$replace_tag("a", "d")
  run$replace_tags(c("d"), c("e", "f"))
  expect_equal(run$user_tags, c("e", "f"))
  expect_equal(run$created_at, created)

  withr::local_envvar(METAFLOW_USER = "will")
  run$add_tag("from_will")
  history <- run$tag_history
  expect_s3_class(history, "data.frame")
  expect_equal(history$tag[1:4], c("a", "b", "c", "b"))
  expect_equal(history$action[1:4], c("added", "added", "added", "removed"))
  expect_equal(history$identity[c(1, nrow(history))], c("user:anne", "user:will"))
  expect_s3_class(history$at, "POSIXct")
})

test_that("the history has a row per change, and begins with the tags that the run was given", {
  local_results("anne")
  history <- run_client$new("FeatureFlow/2")$tag_history
  expect_identical(names(history), c("tag", "action", "identity", "at"))
  expect_equal(history$tag, c("xyz_features", "crazy_test"))
  expect_equal(history$action, c("added", "added"))
  expect_equal(unique(history$identity), "user:anne")
  expect_equal(attr(history$at, "tzone"), "UTC")
  none <- run_client$new("PredictionFlow/8")$tag_history
  expect_identical(names(none), names(history))
  expect_equal(nrow(none), 0)
})

test_that("a tag changes nothing else, and what is in a run shows the tags of now", {
  local_results("anne", project = of_tags())
  run_flow(of_tags(), "TagFlow", "anne")
  flow <- flow_client$new("TagFlow")
  latest <- flow$latest_run
  run <- run_client$new("TagFlow/1")
  parts <- list(run$step("start"), run$step("start")$a_task, run$step("start")$a_task$artifacts$numbers)
  facts <- function() list(run$created_at, run$finished_at, run$system_tags, flow$latest_run, as.character(flow$runs))
  before <- facts()
  withr::with_envvar(c(METAFLOW_USER = "will"), run$add_tag("later"))
  expect_equal(facts(), before)
  expect_true(flow$latest_run == latest)
  for (part in parts) expect_equal(part$tags, run$tags)
  for (part in parts) expect_true("later" %in% part$user_tags)
  run$remove_tag("later")
  for (part in parts) expect_false("later" %in% part$tags)
})

test_that("a run has at most 50 tags; a replacement removes before it adds", {
  local_results("anne", project = of_tags())
  run <- run_client$new("TagFlow/1")
  before <- run$user_tags
  full <- paste0("t", seq_len(50 - length(before)))
  run$add_tags(full)
  expect_error(run$add_tag("one more"), "at most 50", class = "metaflow_tagging_error")
  run$replace_tag("t1", "one more")
  run$replace_tags(c("t2", "t3"), c("t2", "t3"))
  expect_equal(sort(run$user_tags), sort(c(before, setdiff(full, "t1"), "one more")))
  run$remove_tags(full, "one more")
  expect_equal(run$user_tags, before)
  expect_error(run$replace_tags(character(), character()), "No tag", class = "metaflow_tagging_error")
  run$add_tags(strrep("y", 500), "user:anne")
  expect_equal(setdiff(run$user_tags, before), strrep("y", 500))
  run$remove_tags(strrep("y", 500))
})

test_that("tags that can't be changed are errors, and nothing changes", {
  local_results("anne", project = of_tags())
  run <- run_client$new("TagFlow/1")
  before <- run$tags
  expect_error(run$remove_tag("user:anne"), class = "metaflow_tagging_error")
  expect_error(run$add_tags("fine", ""), class = "metaflow_tagging_error")
  expect_error(run$add_tags(strrep("x", 501)), class = "metaflow_tagging_error")
  expect_error(run$add_tags(), class = "metaflow_tagging_error")
  expect_error(run$add_tag(c("x", "y")), "add_tags", class = "metaflow_tagging_error")
  expect_error(run$add_tag(5), "not.*5", class = "metaflow_tagging_error")
  expect_error(run$add_tags(NA_character_), class = "metaflow_tagging_error")
  expect_error(flow_client$new("TagFlow")$runs_with_tags(5), class = "metaflow_tagging_error")
  expect_equal(run$tags, before)
})

test_that("tags of any alphabet and with any character survive", {
  local_results("anne", project = of_tags())
  run <- run_client$new("TagFlow/1")
  odd <- c("\u65e5\u672c\u8a9e", "with blanks and 'quotes\"", "a/b:c", "%_;--")
  run$add_tags(odd)
  expect_true(all(odd %in% run$user_tags))
  expect_length(flow_client$new("TagFlow")$runs_with_tags(odd), 1)
  run$remove_tags(odd)
  latin <- iconv("caf\u00e9", "UTF-8", "latin1")
  run$add_tag(latin)
  expect_true("caf\u00e9" %in% run$user_tags)
  run$remove_tag("caf\u00e9")
})
