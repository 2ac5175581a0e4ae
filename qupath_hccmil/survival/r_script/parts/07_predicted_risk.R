# ---- Predicted risk: calibration, Brier score and decision curve --------------------------------

# The probability of no event up to each time, one row a patient: from the baseline that was given,
# or from the baseline of the other folds (column `fold`).
predicted_survival <- function(times) {
  if (!is.null(baseline)) {
    step <- findInterval(times * baseline$scale, baseline$times)
    hazard <- c(0, baseline$cumulative_hazard)[step + 1]
    hazard[times * baseline$scale > baseline$last] <- NA
    relative <- exp(baseline$coefficient * (data$risk_score - baseline$centre))
    return(exp(-outer(relative, hazard)))
  }
  found <- matrix(NA_real_, nrow(data), length(times))
  for (fold in sort(unique(data$fold))) {
    inside <- data$fold == fold
    others <- data[!inside, ]
    fit <- coxph(Surv(time, event) ~ risk_score, others, control = exact)
    curves <- survfit(fit, newdata = data[inside, ])
    at <- summary(curves, times = times, extend = TRUE)$surv
    values <- matrix(at, nrow = length(times))
    values[times > max(others$time), ] <- NA
    found[inside, ] <- t(values)
  }
  found
}
predicted_risk <- function(times) pmin(pmax(1 - predicted_survival(times), 1e-9), 1 - 1e-9)

cube <- function(x) pmax(x, 0)^3
# Restricted cubic spline with three knots (Harrell 2015, eq. 2.25).
spline_columns <- function(x, knots) {
  if (length(knots) < 3) return(cbind(x))
  k <- knots
  cbind(x, (cube(x - k[1]) - cube(x - k[2]) * (k[3] - k[1]) / (k[3] - k[2]) +
              cube(x - k[3]) * (k[2] - k[1]) / (k[3] - k[2])) / (k[3] - k[1])^2)
}
smoothed <- function(frame, knots, at, horizon) {
  x <- spline_columns(frame$link, knots)
  x <- x[, apply(x, 2, function(column) length(unique(column)) > 1), drop = FALSE]
  beta <- refit(frame$time, frame$event, x)
  # Efron's hazard at the mean of the columns, as survfit has it.
  frame$lp <- as.vector(x %*% beta)
  fit <- coxph(Surv(time, event) ~ lp, frame, init = 1, control = coxph.control(iter.max = 0))
  new <- spline_columns(log(-log1p(-at)), knots)[, seq_along(beta), drop = FALSE]
  curves <- survfit(fit, newdata = data.frame(lp = as.vector(new %*% beta)))
  1 - as.vector(summary(curves, times = horizon, extend = TRUE)$surv)
}
gaps_of <- function(frame, knots, horizon) {
  gap <- abs(smoothed(frame, knots, frame$risk, horizon) - frame$risk)
  c(ICI = mean(gap), E50 = median(gap), E90 = unname(quantile(gap, 0.9)), Emax = max(gap))
}

calibration_at <- function(risk, horizon, report) {
  curve <- summary(survfit(Surv(time, event) ~ 1, data, conf.type = "log-log",
                           conf.int = confidence), times = horizon)
  observed <- 1 - curve$surv
  error <- curve$std.err / observed
  ratio <- observed / mean(risk)
  ended <- data.frame(time = pmin(data$time, horizon),
                      event = as.numeric(data$event == 1 & data$time <= horizon), risk = risk,
                      link = log(-log1p(-risk)))
  slope <- fit_columns(ended$time, ended$event, cbind(ended$link), "auto", TRUE)
  knots <- unique(quantile(ended$link, c(0.1, 0.5, 0.9)))
  found <- list(
    "Observed risk" = c(observed, 1 - curve$upper, 1 - curve$lower),
    "Mean predicted risk" = c(mean(risk), NA, NA),
    "Observed / expected" = c(ratio, ratio * exp(-critical * error), ratio * exp(critical * error)),
    "Calibration slope" = c(slope$coefficients, slope$lower, slope$upper))
  for (name in names(found)) {
    row <- report[report$quantity == name & report$horizon == horizon, ]
    compare("calibration", paste(name, horizon), c("estimate", "lower", "upper"),
            row[c("estimate", "lower", "upper")], found[[name]],
            if (name == "Calibration slope" && slope$method == "Firth") 1e-5 else 1e-6)
  }
  gaps <- gaps_of(ended, knots, horizon)
  drawn <- replicate(bootstrap, {
    again <- try(gaps_of(ended[draw(ended$event), ], knots, horizon), silent = TRUE)
    if (inherits(again, "try-error")) rep(NA_real_, 4) else again
  })
  for (k in seq_along(gaps)) {
    row <- report[report$quantity == names(gaps)[k] & report$horizon == horizon, ]
    what <- paste(names(gaps)[k], horizon)
    compare("calibration", what, "estimate", row$estimate, gaps[[k]], 1e-5)
    if (bootstrap)
      compare_interval("calibration", what, row$lower, row$upper, drawn[k, ])
  }
  groups <- read_report("calibration_groups")
  groups <- groups[groups$horizon == horizon, ]
  edges <- unique(quantile(risk, c(0.2, 0.4, 0.6, 0.8)))
  fifth <- findInterval(risk, edges, left.open = TRUE)
  for (i in seq_along(sort(unique(fifth)))) {
    inside <- fifth == sort(unique(fifth))[i]
    at <- survival_at(data[inside, ], horizon)
    compare("calibration_groups", paste("fifth", i, horizon),
            c("patients", "predicted", "observed", "lower", "upper"),
            groups[i, c("patients", "predicted", "observed", "lower", "upper")],
            c(sum(inside), mean(risk[inside]), 1 - at[["survival"]], 1 - at[["upper"]],
              1 - at[["lower"]]))
  }
}

part("Calibration", "survival", function() {
  report <- read_report("calibration")
  if (is.null(report)) return()
  set.seed(seed)
  at <- sort(unique(report$horizon))
  risks <- predicted_risk(at)
  for (k in seq_along(at)) calibration_at(risks[, k], at[k], report)
})

part("Decision curve", "survival", function() {
  report <- read_report("decision_curve")
  if (is.null(report)) return()
  free_of_event <- function(frame, at) {
    if (!nrow(frame)) return(1)
    if (at > max(frame$time)) return(NA)
    summary(survfit(Surv(time, event) ~ 1, frame), times = at)$surv
  }
  for (at in sort(unique(report$horizon))) {
    risk <- predicted_risk(at)[, 1]
    rows <- report[report$horizon == at, ]
    odds <- rows$threshold / (1 - rows$threshold)
    everyone <- free_of_event(data, at)
    model <- vapply(seq_along(odds), function(i) {
      above <- risk > rows$threshold[i]
      if (!any(above)) return(0)
      free <- free_of_event(data[above, ], at)
      mean(above) * (1 - free) - mean(above) * free * odds[i]
    }, numeric(1))
    what <- paste(at, rows$threshold)
    compare("decision_curve", what, "model", rows$model, model)
    compare("decision_curve", what, "all", rows$all, (1 - everyone) - everyone * odds)
  }
})

# ---- Brier score, also with competing events ----------------------------------------------------

# Of one time, weighted for censoring (Graf et al. 1999), for the bootstrap; riskRegression's is
# compared with the report. `cause` is 0 for a censoring; whoever had another cause than 1, a
# competing event, is known to have no event.
brier_of <- function(time, cause, risk, at) {
  free <- survfit(Surv(time, cause == 0) ~ 1)
  # An event comes before a censoring at the same time.
  weight_before <- function(t) c(1, free$surv)[findInterval(t - 1e-9, free$time) + 1]
  known <- cause > 0 & time <= at
  weight <- ifelse(known, 1 / weight_before(time),
                   ifelse(time > at, 1 / c(1, free$surv)[findInterval(at, free$time) + 1], 0))
  mean(weight * ((known & cause == 1) - risk)^2)
}

# Compares one table of the report. `cause` as in `brier_of`; `formula` and `score_data` are those
# of riskRegression, `predict` gives the risks of all patients up to some times, and `common` the
# risk that some rows share.
compare_brier <- function(table, cause, formula, score_data, predict, common) {
  report <- read_report(table)
  if (is.null(report)) return()
  set.seed(seed)
  single <- report[report$time != "integrated", ]
  at <- as.numeric(single$time)
  score_at <- function(times, risks) as.data.frame(riskRegression::Score(
    list(model = risks), formula = formula, data = score_data, cause = 1, times = times,
    metrics = "brier", null.model = TRUE, se.fit = FALSE, conf.int = FALSE, cens.method = "ipcw",
    cens.model = "km")$Brier$score)
  # The share of the null model's error; none before the first event, without an error.
  removed <- function(model, null) ifelse(null > 0, 1 - model / null, NA)
  risks <- predict(at)
  found <- score_at(at, risks)
  model <- found$Brier[found$model == "model"]
  null <- found$Brier[found$model == "Null model"]
  compare(table, at, "brier", single$brier, model)
  compare(table, at, "null", single$null, null)
  compare(table, at, "scaled", single$scaled, removed(model, null))
  for (k in seq_along(at)) if (bootstrap) {
    drawn <- replicate(bootstrap, {
      rows <- draw(cause == 1)
      error_of <- function(risk) brier_of(data$time[rows], cause[rows], risk, at[k])
      again <- error_of(risks[rows, k])
      c(again, 1 - again / error_of(common(rows, at[k])))
    })
    compare_interval(table, at[k], single$lower[k], single$upper[k], drawn[1, ])
    compare_interval(table, paste(at[k], "scaled"), single$scaled_lower[k],
                     single$scaled_upper[k], drawn[2, ])
  }
  whole <- report[report$time == "integrated", ]
  if (!nrow(whole)) return()
  last <- max(horizons)
  first <- min(unname(quantile(data$time[cause == 1], 0.1)), last / 2)
  grid <- unique(seq(first, last, length.out = 40))
  risks <- predict(grid)
  known <- apply(risks, 2, function(column) all(is.finite(column)))
  grid <- grid[known]
  found <- score_at(grid, risks[, known, drop = FALSE])
  area <- function(values)
    sum(diff(grid) * (head(values, -1) + tail(values, -1)) / 2) / diff(range(grid))
  model <- area(found$Brier[found$model == "model"])
  null <- area(found$Brier[found$model == "Null model"])
  compare(table, "integrated", c("brier", "null", "scaled"),
          whole[c("brier", "null", "scaled")], c(model, null, removed(model, null)))
}

part("Brier score", c("survival", "riskRegression"), function() {
  compare_brier("brier", data$event, Surv(time, event) ~ 1,
                data.frame(time = data$time, event = data$event), predicted_risk,
                function(rows, at) {
    curve <- survfit(Surv(time, event) ~ 1, data[rows, ])
    1 - c(1, curve$surv)[findInterval(at, curve$time) + 1]
  })
})
