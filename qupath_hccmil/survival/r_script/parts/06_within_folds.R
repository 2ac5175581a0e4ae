# ---- Scores out of fold: concordance and AUC within folds ---------------------------------------

# Harrell's C of a marker over pairs of patients of one fold, and the pairs.
c_within <- function(rows, marker) {
  rows$marker <- marker
  count <- 0
  right <- 0
  for (fold in unique(rows$model_fold)) {
    inside <- rows[rows$model_fold == fold, ]
    if (nrow(inside) < 2 || !any(inside$event == 1)) next
    found <- concordance(Surv(time, event) ~ marker, inside, reverse = TRUE)$count
    right <- right + found[["concordant"]] + found[["tied.x"]] / 2
    count <- count + sum(found[c("concordant", "discordant", "tied.x")])
  }
  c(estimate = if (count) right / count else NA, pairs = count)
}

# The probability of staying uncensored until just before each time; at equal times, events come
# before censorings.
uncensored_before <- function(rows, times) {
  ends <- sort(unique(rows$time[rows$event == 0]))
  left <- vapply(ends, function(at) {
    at_risk <- sum(rows$time >= at) - sum(rows$time == at & rows$event == 1)
    1 - sum(rows$time == at & rows$event == 0) / at_risk
  }, numeric(1))
  c(1, cumprod(left))[findInterval(times, ends, left.open = TRUE) + 1]
}

# AUC(t): pairs of a case up to t and a patient of its fold who is followed for longer, weighted by
# the inverse probability that the case is not censored.
auc_within <- function(rows, marker, at) {
  case <- rows$event == 1 & rows$time <= at
  control <- rows$time > at
  weight <- numeric(nrow(rows))
  weight[case] <- 1 / uncensored_before(rows, rows$time[case])
  right <- 0
  count <- 0
  for (i in which(case)) {
    others <- marker[control & rows$model_fold == rows$model_fold[i]]
    right <- right + weight[i] * sum((marker[i] > others) + (marker[i] == others) / 2)
    count <- count + weight[i] * length(others)
  }
  if (count) right / count else NA
}

# By how much a bootstrap interval is widened: the training sets of the folds overlap (Nadeau and
# Bengio 2003).
widened <- function(rows) {
  tested <- table(rows$model_fold)
  trained <- nrow(rows) - tested
  if (all(trained > 0)) sqrt(1 + sum(tested / trained)) else 1
}

part("Folds", "survival", function() {
  report <- read_report("folds")
  if (is.null(report)) return()
  with_c <- !is.null(read_report("within_folds"))
  for (i in seq_len(nrow(report))) {
    row <- report[i, ]
    inside <- data[data$model_fold == as.character(row$fold), ]
    given <- inside$score_as_given
    found <- c(patients = nrow(inside), events = sum(inside$event), mean = mean(given),
               pairs = c_within(inside, inside$risk_score)[["pairs"]],
               c_index = if (with_c) c_within(inside, inside$risk_score)[["estimate"]])
    compare("folds", row$fold, names(found), row[names(found)], found)
    if (is.na(row$sd) || row$sd == 0) {
      compare("folds", row$fold, "risk_score", inside$risk_score, 0 * given)
    } else {
      compare("folds", row$fold, "sd", row$sd, sd(given))
      compare("folds", row$fold, "risk_score", inside$risk_score, as.vector(scale(given)))
    }
    if (cut_at_thresholds)
      compare("folds", row$fold, "High risk", inside$risk_group == "High risk",
              given > row$threshold)
  }
})

part("Concordance and AUC within folds", "survival", function() {
  report <- read_report("within_folds")
  gaps <- read_report("within_folds_differences")
  if (is.null(report)) return()
  set.seed(seed)
  statistic <- function(rows, marker, at)
    if (is.na(at)) c_within(rows, marker)[["estimate"]] else auc_within(rows, marker, at)
  models <- models_of_markers()
  titles <- names(models)
  for (i in seq_along(models)) {
    shown <- report[report$marker == titles[i], ]
    if (!nrow(shown)) next
    rows <- data
    marker <- data$risk_score
    if (i > 1) {
      model <- fit_model(models[[i]])
      rows <- model$rows
      # Rounding must not tell patients with equal values apart.
      marker <- signif(linear_predictor(model), 12)
    }
    for (k in seq_len(nrow(shown))) {
      row <- shown[k, ]
      what <- paste(titles[i], row$statistic, row$time)
      estimate <- statistic(rows, marker, row$time)
      compare("within_folds", what, c("patients", "events", "estimate"),
              row[c("patients", "events", "estimate")], c(nrow(rows), sum(rows$event), estimate))
      if (!is.null(gaps) && i > 1) {
        gap <- gaps[gaps$marker == titles[i], ][k, ]
        compare("within_folds_differences", what, "difference", gap$difference,
                statistic(rows, rows$risk_score, row$time) - estimate)
      }
      # Of the score alone; the other intervals are made in the same way.
      if (i > 1 || !is.na(row$time) || !bootstrap) next
      drawn <- vapply(seq_len(bootstrap), function(b) {
        sample <- draw(rows$event)
        c_within(rows[sample, ], marker[sample])[["estimate"]]
      }, numeric(1))
      drawn <- estimate + widened(rows) * (drawn - estimate)
      compare_interval("within_folds", what, row$lower, row$upper, drawn)
    }
  }
  not_done <<- c(not_done, paste("The other intervals within folds: not done, because they are",
                                 "simulated as that of the C-index of the score"))
})
