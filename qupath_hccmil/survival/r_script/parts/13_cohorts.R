# ---- External validation ------------------------------------------------------------------------

cohorts <- read_csv("analysis_cohorts.csv")
if (!is.null(cohorts)) names(cohorts) <- c("cohort", "time", "event", "risk_score", "fold",
                                           names(variables))

# The linear predictor, and the risk by the whole baseline, of the patients of another cohort.
whole_baseline <- function() {
  if (!is.null(baseline))
    return(list(linear = function(score) baseline$coefficient * (score - baseline$centre),
                risk = function(score, at) {
                  at <- at * baseline$scale
                  if (at > baseline$last) return(rep(NA_real_, length(score)))
                  hazard <- c(0, baseline$cumulative_hazard)[findInterval(at, baseline$times) + 1]
                  1 - exp(-hazard * exp(baseline$coefficient * (score - baseline$centre)))
                }))
  fit <- coxph(Surv(time, event) ~ risk_score, data, control = exact)
  list(linear = function(score) coef(fit)[[1]] * (score - mean(data$risk_score)),
       risk = function(score, at) {
         if (at > max(data$time)) return(rep(NA_real_, length(score)))
         curves <- survfit(fit, newdata = data.frame(risk_score = score))
         1 - as.vector(summary(curves, times = at, extend = TRUE)$surv)
       })
}
inside_bounds <- function(risk) pmin(pmax(risk, 1e-9), 1 - 1e-9)
cohort_rows <- function(name) {
  if (name == first_cohort && is.null(baseline)) return(data)
  cohorts[cohorts$cohort == name, ]
}
cohort_risk <- function(name, rows, at, whole) {
  if (name == first_cohort && is.null(baseline)) return(predicted_risk(at)[, 1])
  inside_bounds(whole$risk(rows$risk_score, at))
}

observed_at <- function(rows, at) {
  found <- summary(curve_of(rows), times = at)
  c(risk = 1 - found$surv, se = found$std.err, lower = 1 - found$upper, upper = 1 - found$lower)
}
ended_at <- function(rows, risk, at) data.frame(
  time = pmin(rows$time, at), event = as.numeric(rows$event == 1 & rows$time <= at), risk = risk,
  link = log(-log1p(-risk)))
slope_at <- function(rows, risk, at) {
  ended <- ended_at(rows, risk, at)
  fit_columns(ended$time, ended$event, cbind(ended$link), "auto", TRUE)
}
ici_at <- function(rows, risk, at) {
  ended <- ended_at(rows, risk, at)
  gaps_of(ended, unique(quantile(ended$link, c(0.1, 0.5, 0.9))), at)[["ICI"]]
}
brier_pair <- function(rows, risk, at) {
  found <- as.data.frame(riskRegression::Score(
    list(model = cbind(risk)), formula = Surv(time, event) ~ 1,
    data = data.frame(time = rows$time, event = rows$event), times = at, metrics = "brier",
    null.model = TRUE, se.fit = FALSE, conf.int = FALSE, cens.method = "ipcw",
    cens.model = "km")$Brier$score)
  c(found$Brier[found$model == "model"], found$Brier[found$model == "Null model"])
}

on_scale <- function(quantity, value, se) switch(quantity,
  "Calibration slope" = c(value, se), "Observed / expected" = c(log(value), se / value),
  c(qlogis(value), se / (value * (1 - value))))
from_scale <- function(quantity, value) switch(quantity,
  "Calibration slope" = value, "Observed / expected" = exp(value), plogis(value))
with_limits <- function(quantity, value, se) {
  if (is.na(value) || (!(quantity %in% c("Calibration slope", "Observed / expected")) &&
                         (value <= 0 || value >= 1)) || is.na(se) || se <= 0)
    return(c(value, NA, NA, NA))
  middle <- on_scale(quantity, value, se)
  c(value, se, from_scale(quantity, middle[1] + c(-1, 1) * critical * middle[2]))
}
four <- c("estimate", "se", "lower", "upper")

part("Cohorts: case mix and C", "survival", function() {
  report <- read_report("cohorts")
  if (is.null(report)) return()
  whole <- whole_baseline()
  for (name in unique(report$cohort)) {
    rows <- cohort_rows(name)
    shown <- report[report$cohort == name, ]
    value <- function(quantity) shown$estimate[shown$quantity == quantity]
    linear <- whole$linear(rows$risk_score)
    found <- c("Patients" = nrow(rows), "Events" = sum(rows$event),
               "Median follow-up" = median_of(transform(rows, event = 1 - event))[["median"]],
               "Score, mean" = mean(rows$risk_score), "Score, SD" = sd(rows$risk_score),
               "Linear predictor, mean" = mean(linear), "Linear predictor, SD" = sd(linear))
    for (quantity in names(found))
      compare("cohorts", name, quantity, value(quantity), found[[quantity]])
    for (v in names(variables)) {
      x <- rows[[v]][!is.na(rows[[v]])]
      title <- gsub(": ", ":", variables[[v]]$title, fixed = TRUE)
      median_row <- paste0(title, ", median")
      if (median_row %in% shown$quantity)
        compare("cohorts", name, median_row, value(median_row), median(as.numeric(x)))
      start <- paste0(title, ": ")
      for (quantity in shown$quantity[startsWith(shown$quantity, start)])
        compare("cohorts", name, quantity, value(quantity),
                mean(as.character(x) == substring(quantity, nchar(start) + 1)))
    }
    c_index <- concordance(Surv(time, event) ~ risk_score, rows, reverse = TRUE)
    compare("cohorts", name, four, shown[shown$quantity == "Harrell's C", four],
            with_limits("Harrell's C", c_index$concordance, sqrt(c_index$var)))
  }
})

part("Cohorts: AUC", c("survival", "riskRegression"), function() {
  report <- read_report("cohorts")
  if (is.null(report)) return()
  for (name in unique(report$cohort)) {
    rows <- cohort_rows(name)
    shown <- report[report$cohort == name & report$quantity == "AUC" & !is.na(report$estimate), ]
    if (!nrow(shown)) next
    found <- as.data.frame(riskRegression::Score(
      list(m1 = rows$risk_score), formula = Surv(time, event) ~ 1,
      data = data.frame(time = rows$time, event = rows$event), times = shown$horizon,
      metrics = "auc", conf.int = confidence, se.fit = TRUE, null.model = FALSE,
      cens.method = "ipcw", cens.model = "km")$AUC$score)
    for (i in seq_len(nrow(shown)))
      compare("cohorts", paste(name, "AUC", shown$horizon[i]), four, shown[i, four],
              with_limits("AUC", found$AUC[i], found$se[i]), 1e-4)
  }
})

part("Cohorts: calibration and Brier score", c("survival", "riskRegression"), function() {
  report <- read_report("cohorts")
  if (is.null(report)) return()
  whole <- whole_baseline()
  for (name in unique(report$cohort)) for (at in horizons) {
    rows <- cohort_rows(name)
    shown <- report[report$cohort == name & report$horizon %in% at, ]
    row_of <- function(quantity) shown[shown$quantity == quantity, ]
    if (is.na(row_of("Observed risk")$estimate)) next
    risk <- cohort_risk(name, rows, at, whole)
    seen <- observed_at(rows, at)
    slope <- slope_at(rows, risk, at)
    what <- paste(name, at)
    compare("cohorts", what, c("estimate", "lower", "upper"),
            row_of("Observed risk")[c("estimate", "lower", "upper")],
            seen[c("risk", "lower", "upper")])
    ratio <- seen[["risk"]] / mean(risk)
    compare("cohorts", what, four, row_of("Observed / expected")[four],
            with_limits("Observed / expected", ratio, ratio * seen[["se"]] / seen[["risk"]]))
    if (slope$method == "Efron")
      compare("cohorts", what, four, row_of("Calibration slope")[four],
              c(slope$coefficients, slope$se, slope$lower, slope$upper))
    compare("cohorts", what, "ICI", row_of("ICI")$estimate, ici_at(rows, risk, at), 1e-5)
    pair <- brier_pair(rows, risk, at)
    compare("cohorts", what, "Scaled Brier score", row_of("Scaled Brier score")$estimate,
            1 - pair[1] / pair[2])
  }
})

part("Cohorts: recalibration", c("survival", "riskRegression"), function() {
  report <- read_report("cohorts_recalibrated")
  if (is.null(report)) return()
  whole <- whole_baseline()
  new_risk <- function(risk, shift, slope)
    inside_bounds(-expm1(-exp(pmin(pmax(shift + slope * log(-log1p(-risk)), -40), 3.5))))
  for (i in seq_len(nrow(report))) {
    row <- report[i, ]
    rows <- cohort_rows(row$cohort)
    risk <- cohort_risk(row$cohort, rows, row$horizon, whole)
    update <- function(kept) {
      if (row$version == "as it is") return(c(0, 1))
      slope <- if (row$version == "baseline updated") 1
               else slope_at(rows[kept, ], risk[kept], row$horizon)$coefficients
      goal <- observed_at(rows[kept, ], row$horizon)[["risk"]]
      c(uniroot(function(shift) mean(new_risk(risk[kept], shift, slope)) - goal, c(-20, 20),
                tol = 1e-12)$root, slope)
    }
    all_of_them <- update(rep(TRUE, nrow(rows)))
    new <- risk
    for (fold in unique(rows$fold)) {
      inside <- rows$fold == fold
      found <- update(!inside)
      new[inside] <- new_risk(risk[inside], found[1], found[2])
    }
    pair <- brier_pair(rows, new, row$horizon)
    compare("cohorts_recalibrated", paste(row$cohort, row$horizon, row$version),
            c("intercept", "slope", "ratio", "calibration_slope", "ici", "brier", "scaled"),
            row[c("intercept", "slope", "ratio", "calibration_slope", "ici", "brier", "scaled")],
            c(all_of_them, observed_at(rows, row$horizon)[["risk"]] / mean(new),
              slope_at(rows, new, row$horizon)$coefficients, ici_at(rows, new, row$horizon),
              pair[1], 1 - pair[1] / pair[2]), 1e-5)
  }
})

part("Cohorts pooled", c("survival", "metafor"), function() {
  report <- read_report("cohorts_pooled")
  if (is.null(report)) return()
  every <- read_report("cohorts")
  if (is.null(baseline)) every <- every[every$cohort != first_cohort, ]
  for (i in seq_len(nrow(report))) {
    row <- report[i, ]
    rows <- every[every$quantity == row$quantity & every$horizon %in% row$horizon &
                    !is.na(every$se), ]
    each <- mapply(on_scale, row$quantity, rows$estimate, rows$se)
    fit <- metafor::rma(each[1, ], each[2, ]^2, method = "PM", test = "adhoc",
                        level = 100 * confidence, control = list(tol = 1e-12, maxiter = 1000))
    future <- predict(fit)
    back <- function(value) from_scale(row$quantity, value)
    several <- nrow(rows) > 2
    numbers <- c(
      cohorts = nrow(rows), estimate = back(fit$b[[1]]), lower = back(fit$ci.lb),
      upper = back(fit$ci.ub), prediction_lower = if (several) back(future$pi.lb) else NA,
      prediction_upper = if (several) back(future$pi.ub) else NA, tau = sqrt(fit$tau2),
      q = fit$QE, p = fit$QEp, i_squared = fit$I2 / 100)
    compare("cohorts_pooled", paste(row$quantity, row$horizon), names(numbers),
            row[names(numbers)], numbers, 1e-5)
  }
})
