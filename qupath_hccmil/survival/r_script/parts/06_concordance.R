# ---- Concordance --------------------------------------------------------------------------------

# Harrell's and Uno's C of a marker whose high values mean a high risk.
both_c <- function(frame, marker, tau) {
  if (length(unique(marker)) < 2) return(c(0.5, 0.5))
  frame$marker <- marker
  c(concordance(Surv(time, event) ~ marker, frame, reverse = TRUE)$concordance,
    concordance(Surv(time, event) ~ marker, frame, reverse = TRUE, timewt = "n/G2",
                ymax = tau)$concordance)
}

# Bootstrap samples of patients, stratified by event. R draws others than the report did, so the
# intervals agree within the error of simulation only.
draw <- function(event) {
  parts <- split(seq_along(event), event == 1)
  unlist(lapply(parts, function(rows) rows[sample.int(length(rows), replace = TRUE)]),
         use.names = FALSE)
}
percentiles <- function(values) {
  values <- values[is.finite(values)]
  if (length(values)) unname(quantile(values, c(tail_probability, 1 - tail_probability)))
  else c(NA_real_, NA_real_)
}
# Compares simulated limits. They may differ by five standard errors of the difference of two
# simulations: that of a normal distribution, or that found by drawing from the simulated values
# again, whichever is larger.
compare_interval <- function(table, what, lower, upper, drawn) {
  found <- percentiles(drawn)
  again <- replicate(200, percentiles(sample(drawn, replace = TRUE)))
  normal <- sqrt(tail_probability * (1 - tail_probability) / length(drawn)) /
    dnorm(qnorm(tail_probability)) * sd(drawn, na.rm = TRUE)
  error <- 5 * sqrt(2) * pmax(apply(again, 1, sd), normal) + 1e-6
  compare(table, what, "lower (simulated)", lower, found[1], error[1])
  compare(table, what, "upper (simulated)", upper, found[2], error[2])
}

# Coefficients on a sample; a column that is constant or depends on others gets 0.
refit <- function(time, event, x) {
  beta <- fit_columns(time, event, x, "auto", FALSE)$coefficients
  replace(beta, is.na(beta), 0)
}

concordance_of <- function(terms, label, report, gaps) {
  tau <- max(report$tau, na.rm = TRUE)
  rows <- complete_rows(c(terms, list(score_term)))
  models <- list(list(name = "Score", x = NULL))
  kept <- varying(terms, rows)
  if (length(kept)) {
    x <- scale(design(kept, rows))
    models <- c(models, list(list(name = "Clinical model", x = x),
                             list(name = "Clinical model + score",
                                  x = cbind(x, scale(rows$risk_score)))))
  }
  marker_of <- function(model, sample) {
    if (is.null(model$x)) return(rows$risk_score)
    # Rounding must not tell patients with equal values apart.
    beta <- refit(rows$time[sample], rows$event[sample], model$x[sample, , drop = FALSE])
    signif(as.vector(model$x %*% beta), 12)
  }
  everybody <- seq_len(nrow(rows))
  apparent <- vapply(models, function(model) both_c(rows, marker_of(model, everybody), tau),
                     numeric(2))
  drawn <- optimism <- array(0, c(2, length(models), max(bootstrap, 1)))
  for (b in seq_len(bootstrap)) {
    sample <- draw(rows$event)
    for (m in seq_along(models)) {
      marker <- marker_of(models[[m]], sample)
      drawn[, m, b] <- both_c(rows[sample, ], marker[sample], tau)
      if (m > 1) optimism[, m, b] <- drawn[, m, b] - both_c(rows, marker, tau)
    }
  }
  bias <- apply(optimism, c(1, 2), mean)
  for (m in seq_along(models)) for (s in 1:2) {
    name <- paste0(models[[m]]$name, label)
    row <- report[report$model == name & report$statistic == c("Harrell's C", "Uno's C")[s], ]
    if (!nrow(row)) next
    what <- paste(name, row$statistic)
    compare("concordance", what, c("patients", "events"), row[c("patients", "events")],
            c(nrow(rows), sum(rows$event)))
    compare("concordance", what, "apparent", row$apparent, apparent[s, m])
    if (!bootstrap) next
    error <- 5 * sqrt(2 / bootstrap) * sd(optimism[s, m, ])
    compare("concordance", what, "optimism (simulated)", row$optimism, bias[s, m], error)
    compare("concordance", what, "estimate (simulated)", row$estimate, apparent[s, m] - bias[s, m],
            error + 1e-6)
    compare_interval("concordance", what, row$lower, row$upper,
                     drawn[s, m, ] - bias[s, m])
  }
  if (length(models) < 2 || is.null(gaps)) return()
  for (pair in list(c(1, 2), c(3, 2))) for (s in 1:2) {
    second <- models[[pair[2]]]$name
    name <- paste(models[[pair[1]]]$name, "\u2212",
                  paste0(tolower(substr(second, 1, 1)), substring(second, 2)))
    row <- gaps[gaps$comparison == name & gaps$statistic == c("Harrell's C", "Uno's C")[s], ]
    if (!nrow(row)) next
    one <- apparent[s, pair[1]] - bias[s, pair[1]]
    two <- apparent[s, pair[2]] - bias[s, pair[2]]
    error <- if (bootstrap)
      5 * sqrt(2 / bootstrap) * sd(optimism[s, pair[1], ] - optimism[s, pair[2], ]) + 1e-6
      else 1e-6
    compare("concordance_differences", paste(name, row$statistic),
            if (bootstrap) "difference (simulated)" else "difference", row$difference, one - two,
            error)
    if (bootstrap)
      compare_interval("concordance_differences", paste(name, row$statistic), row$lower, row$upper,
                       drawn[s, pair[1], ] - bias[s, pair[1]] - drawn[s, pair[2], ] +
                         bias[s, pair[2]])
  }
}

part("Concordance", "survival", function() {
  report <- read_report("concordance")
  if (is.null(report)) return()
  set.seed(seed)
  gaps <- read_report("concordance_differences")
  if (any(report$model == "Score (everybody)"))
    concordance_of(list(), " (everybody)", report, NULL)
  concordance_of(clinical, "", report, gaps)
})
