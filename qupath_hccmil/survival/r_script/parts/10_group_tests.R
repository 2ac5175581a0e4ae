# ---- Weighted log-rank tests, trend and pairs ---------------------------------------------------

before <- function(n, d) c(1, head(cumprod(1 - d / n), -1))
weights_of <- list(
  function(n, d) rep(1, length(n)), function(n, d) n, function(n, d) sqrt(n),
  function(n, d) cumprod(1 - d / (n + 1)), function(n, d) 1 - before(n, d),
  function(n, d) before(n, d) * (1 - before(n, d)))

part("Weighted log-rank tests", "survival", function() {
  report <- read_report("log_rank_weighted")
  if (is.null(report)) return()
  for (i in seq_along(weights_of)) {
    found <- weighted_gap(data, weights_of[[i]])
    compare("log_rank_weighted", report$test[i], c("statistic", "degrees_of_freedom", "p"),
            report[i, c("statistic", "degrees_of_freedom", "p")],
            score_test(found$gap, found$variance))
  }
})

part("Trend and pairs of risk groups", "survival", function() {
  pairs <- read_report("log_rank_pairwise")
  if (any(in_text$item == "trend")) {
    # The score test of a Cox model with the number of the group, with exact ties.
    trend <- data.frame(place = as.integer(droplevels(data$risk_group)))
    trend$outcome <- outcome_of(data)
    statistic <- coxph(outcome ~ place, trend, ties = "exact")$score
    text_numbers("trend", c(statistic = statistic, p = pchisq(statistic, 1, lower.tail = FALSE)))
  }
  if (is.null(pairs)) return()
  found <- lapply(seq_len(nrow(pairs)), function(i)
    log_rank_of(data[data$risk_group %in% c(pairs$group[i], pairs$reference[i]), ]))
  statistic <- vapply(found, function(test) test[["statistic"]], numeric(1))
  p <- vapply(found, function(test) test[["p"]], numeric(1))
  what <- paste(pairs$group, pairs$reference)
  compare("log_rank_pairwise", what, "statistic", pairs$statistic, statistic)
  compare("log_rank_pairwise", what, "p", pairs$p, p)
  compare("log_rank_pairwise", what, "p_holm", pairs$p_holm, p.adjust(p, "holm"))
})
