# ---- Gray's test, Fine-Gray models, and predicted risks with competing events -------------------

# At equal times the report has the event before the censoring; crr and cuminc have it so when the
# censoring is a little later.
later <- function(frame) ifelse(frame$cause == 0, frame$time * (1 + 1e-6), frame$time)

part("Gray's test", c("survival", "cmprsk"), function() {
  report <- read_report("gray_test")
  if (is.null(report)) return()
  found <- cmprsk::cuminc(data$time, data$cause, data$risk_group)$Tests
  for (i in seq_len(nrow(report))) {
    row <- found[rownames(found) == as.character(i), ]
    # cmprsk gives -1 where the variance is singular.
    if (length(row) && row[["stat"]] < 0) next
    compare("gray_test", report$cause[i], c("statistic", "degrees_of_freedom", "p"),
            report[i, c("statistic", "degrees_of_freedom", "p")],
            if (length(row)) c(row[["stat"]], row[["df"]], row[["pv"]])
            else c(NA, nlevels(droplevels(data$risk_group)) - 1, NA))
  }
})

fine_gray_model <- function(terms, frame, code = 1) {
  rows <- complete_rows(terms, frame)
  terms <- varying(terms, rows)
  x <- design(terms, rows)
  fit <- cmprsk::crr(later(rows), rows$cause, x, failcode = code, gtol = 1e-10, maxiter = 50)
  beta <- unname(fit$coef)
  se <- sqrt(diag(fit$var))
  rows$event <- as.numeric(rows$cause == code)
  list(coefficients = beta, se = se, lower = beta - critical * se, upper = beta + critical * se,
       z = beta / se, p = 2 * pnorm(-abs(beta / se)), method = "Efron", rows = rows, terms = terms,
       x = x, fit = fit)
}

part("Fine-Gray models", c("survival", "cmprsk"), function() {
  report <- read_report("fine_gray")
  causes <- unique(read_report("cumulative_incidence")$cause)
  for (cause in unique(report$cause)) for (term in list(group_term, score_term)) {
    rows <- report[report$cause == cause & report$variable == term$name, ]
    if (nrow(rows))
      compare_model("fine_gray", rows,
                    fine_gray_model(list(term), data, match(cause, causes)))
  }
  report <- read_report("fine_gray_multivariable")
  if (!is.null(report))
    compare_model("fine_gray_multivariable", report,
                  fine_gray_model(c(list(score_term), clinical), data))
})

part("AUC with competing events", c("survival", "riskRegression", "cmprsk", "prodlim"),
     function() {
  report <- read_report("auc_competing")
  gaps <- read_report("auc_competing_differences")
  if (is.null(report)) return()
  for (marker in unique(report$marker)) {
    rows <- data
    markers <- list(m1 = data$risk_score)
    if (marker != "Risk score") {
      model <- fine_gray_model(clinical, data)
      rows <- model$rows
      # Rounding must not tell patients with equal values apart.
      markers <- list(m1 = rows$risk_score, m2 = signif(linear_predictor(model), 12))
    }
    row <- report[report$marker == marker, ]
    what <- paste(marker, row$time)
    compare("auc_competing", what, "patients", row$patients, rep(nrow(rows), nrow(row)))
    compare("auc_competing", what, "cases", row$cases,
            vapply(row$time, function(at) sum(rows$cause == 1 & rows$time <= at), numeric(1)))
    compare("auc_competing", what, "controls", row$controls, vapply(row$time, function(at)
      sum(rows$time > at | (rows$cause == 2 & rows$time <= at)), numeric(1)))
    row <- row[!is.na(row$auc), ]
    if (!nrow(row)) next
    what <- paste(marker, row$time)
    score_data <- data.frame(time = later(rows), cause = rows$cause)
    found <- riskRegression::Score(
      markers, formula = Hist(time, cause) ~ 1, data = score_data, times = row$time,
      cause = 1, metrics = "auc", conf.int = confidence, se.fit = TRUE, null.model = FALSE,
      cens.method = "ipcw", cens.model = "km")$AUC
    one <- as.data.frame(found$score)
    one <- one[as.character(one$model) == paste0("m", length(markers)), ]
    lower <- if_known(one$se, pmax(one$AUC - critical * one$se, 0))
    upper <- if_known(one$se, pmin(one$AUC + critical * one$se, 1))
    compare("auc_competing", what, "auc", row$auc, one$AUC)
    compare("auc_competing", what, "se", row$se, one$se, 1e-4)
    compare("auc_competing", what, "lower", row$lower, lower, 1e-4)
    compare("auc_competing", what, "upper", row$upper, upper, 1e-4)
    if (length(markers) < 2 || is.null(gaps)) next
    gap <- gaps[gaps$time %in% row$time, ]
    two <- as.data.frame(found$contrasts)
    compare("auc_competing_differences", what, "difference", gap$difference, -two$delta.AUC)
    compare("auc_competing_differences", what, "lower", gap$lower,
            if_known(two$se, -two$upper), 1e-4)
    compare("auc_competing_differences", what, "upper", gap$upper,
            if_known(two$se, -two$lower), 1e-4)
    compare("auc_competing_differences", what, "p", gap$p, if_known(two$se, two$p), 1e-3)
  }
})

# The risk of each patient from the Fine-Gray model of the other folds.
competing_risk <- function(times) {
  found <- matrix(NA_real_, nrow(data), length(times))
  for (fold in sort(unique(data$fold))) {
    inside <- data$fold == fold
    others <- data[!inside, ]
    fit <- cmprsk::crr(later(others), others$cause, cbind(others$risk_score / score_sd),
                       gtol = 1e-10, maxiter = 50)
    path <- predict(fit, cbind(data$risk_score[inside] / score_sd))
    values <- rbind(0, path[, -1, drop = FALSE])[findInterval(times, path[, 1]) + 1, , drop = FALSE]
    values[times > max(others$time), ] <- NA
    found[inside, ] <- t(values)
  }
  pmin(pmax(found, 1e-9), 1 - 1e-9)
}

incidence_at <- function(frame, at) {
  if (!nrow(frame)) return(c(risk = 0, se = 0))
  if (at > max(frame$time)) return(c(risk = NA, se = NA))
  if (!any(frame$cause == 1)) return(c(risk = 0, se = 0))
  found <- cmprsk::timepoints(cmprsk::cuminc(frame$time, frame$cause), at)
  place <- grep(" 1$", rownames(found$est))
  c(risk = found$est[place, 1], se = sqrt(found$var[place, 1]))
}
incidence_limits <- function(found) {
  risk <- found[["risk"]]
  if (is.na(risk) || risk <= 0 || risk >= 1) return(c(risk, risk))
  wide <- critical * found[["se"]] / abs(risk * log(risk))
  c(risk^exp(wide), risk^exp(-wide))
}

competing_smooth <- function(frame, knots, at, horizon) {
  x <- spline_columns(frame$link, knots)
  fit <- cmprsk::crr(frame$time, frame$cause, x, gtol = 1e-10, maxiter = 50)
  path <- predict(fit, spline_columns(log(-log1p(-at)), knots))
  path[nrow(path), -1]
}
competing_gaps <- function(frame, knots, horizon) {
  gap <- abs(competing_smooth(frame, knots, frame$risk, horizon) - frame$risk)
  c(ICI = mean(gap), E50 = median(gap), E90 = unname(quantile(gap, 0.9)), Emax = max(gap))
}

part("Calibration with competing events", c("survival", "cmprsk"), function() {
  report <- read_report("calibration_competing")
  groups <- read_report("calibration_groups_competing")
  if (is.null(report)) return()
  set.seed(seed)
  at <- sort(unique(report$horizon))
  risks <- competing_risk(at)
  for (k in seq_along(at)) {
    horizon <- at[k]
    risk <- risks[, k]
    observed <- incidence_at(data, horizon)
    error <- observed[["se"]] / observed[["risk"]]
    ratio <- observed[["risk"]] / mean(risk)
    cause <- ifelse(data$time > horizon, 0, data$cause)
    ended <- data.frame(cause = cause, risk = risk, link = log(-log1p(-risk)))
    ended$time <- later(data.frame(time = pmin(data$time, horizon), cause = cause))
    slope <- cmprsk::crr(ended$time, ended$cause, ended$link, gtol = 1e-10, maxiter = 50)
    beta <- unname(slope$coef)
    se <- sqrt(slope$var[1, 1])
    found <- list(
      "Observed risk" = c(observed[["risk"]], incidence_limits(observed)),
      "Mean predicted risk" = c(mean(risk), NA, NA),
      "Observed / expected" = c(ratio, ratio * exp(-critical * error),
                                ratio * exp(critical * error)),
      "Calibration slope" = c(beta, beta - critical * se, beta + critical * se))
    for (name in names(found)) {
      row <- report[report$quantity == name & report$horizon == horizon, ]
      compare("calibration_competing", paste(name, horizon), c("estimate", "lower", "upper"),
              row[c("estimate", "lower", "upper")], found[[name]])
    }
    knots <- unique(quantile(ended$link, c(0.1, 0.5, 0.9)))
    gaps <- competing_gaps(ended, knots, horizon)
    drawn <- replicate(bootstrap, {
      again <- try(competing_gaps(ended[draw(cause == 1), ], knots, horizon), silent = TRUE)
      if (inherits(again, "try-error")) rep(NA_real_, 4) else again
    })
    for (g in names(gaps)) {
      row <- report[report$quantity == g & report$horizon == horizon, ]
      compare("calibration_competing", paste(g, horizon), "estimate", row$estimate, gaps[[g]],
              1e-5)
      if (bootstrap)
        compare_interval("calibration_competing", paste(g, horizon), row$lower, row$upper,
                         drawn[match(g, names(gaps)), ])
    }
    edges <- unique(quantile(risk, c(0.2, 0.4, 0.6, 0.8)))
    fifth <- findInterval(risk, edges, left.open = TRUE)
    rows <- groups[groups$horizon == horizon, ]
    for (i in seq_along(sort(unique(fifth)))) {
      inside <- fifth == sort(unique(fifth))[i]
      seen <- incidence_at(data[inside, ], horizon)
      compare("calibration_groups_competing", paste("fifth", i, horizon),
              c("patients", "predicted", "observed", "lower", "upper"),
              rows[i, c("patients", "predicted", "observed", "lower", "upper")],
              c(sum(inside), mean(risk[inside]), seen[["risk"]], incidence_limits(seen)))
    }
  }
})

part("Decision curve with competing events", c("survival", "cmprsk"), function() {
  report <- read_report("decision_curve_competing")
  if (is.null(report)) return()
  for (at in sort(unique(report$horizon))) {
    risk <- competing_risk(at)[, 1]
    rows <- report[report$horizon == at, ]
    odds <- rows$threshold / (1 - rows$threshold)
    everyone <- incidence_at(data, at)[["risk"]]
    model <- vapply(seq_along(odds), function(i) {
      above <- risk > rows$threshold[i]
      had <- incidence_at(data[above, ], at)[["risk"]]
      mean(above) * had - mean(above) * (1 - had) * odds[i]
    }, numeric(1))
    what <- paste(at, rows$threshold)
    compare("decision_curve_competing", what, "model", rows$model, model)
    compare("decision_curve_competing", what, "all", rows$all, everyone - (1 - everyone) * odds)
  }
})

part("Brier score with competing events", c("survival", "riskRegression", "cmprsk", "prodlim"),
     function() {
  compare_brier("brier_competing", data$cause, Hist(time, cause) ~ 1,
                data.frame(time = later(data), cause = data$cause), competing_risk,
                function(rows, at) incidence_at(data[rows, ], at)[["risk"]])
})
