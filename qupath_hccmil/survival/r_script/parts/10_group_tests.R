# ---- Weighted log-rank tests, trend and pairs ---------------------------------------------------

# Observed minus expected events of each risk group, weighted over time, and their variance.
weighted_gap <- function(frame, weigh) {
  group <- droplevels(frame$risk_group)
  at <- sort(unique(frame$time[frame$event == 1]))
  entry <- if (late) frame$entry_time else rep(-Inf, nrow(frame))
  at_risk <- sapply(levels(group), function(g)
    vapply(at, function(t) sum(frame$time >= t & entry < t & group == g), numeric(1)))
  events <- sapply(levels(group), function(g)
    vapply(at, function(t) sum(frame$time == t & frame$event == 1 & group == g), numeric(1)))
  at_risk <- matrix(at_risk, ncol = nlevels(group))
  events <- matrix(events, ncol = nlevels(group))
  n <- rowSums(at_risk)
  d <- rowSums(events)
  weight <- weigh(n, d)
  share <- at_risk / n
  factor <- weight^2 * ifelse(n > 1, d * (n - d) / pmax(n - 1, 1), 0)
  variance <- diag(colSums(factor * share), ncol(share)) - t(share * factor) %*% share
  list(gap = colSums(weight * (events - d * share)), variance = variance)
}
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
    degrees <- length(found$gap) - 1
    # The test does not depend on which group is left out.
    statistic <- as.numeric(found$gap[-1] %*% solve(found$variance[-1, -1], found$gap[-1]))
    compare("log_rank_weighted", report$test[i], c("statistic", "degrees_of_freedom", "p"),
            report[i, c("statistic", "degrees_of_freedom", "p")],
            c(statistic, degrees, pchisq(statistic, degrees, lower.tail = FALSE)))
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
