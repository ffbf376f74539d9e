"""The figures that describe real Expresso customers, from which synthetic ones are drawn.

All were measured on 2,000 rows of the challenge's Train.csv: shares, quantiles, correlations. How
they are used stands in `simulator.population`; a test measures how close the result comes. The
formatter is off where it would put every figure into a line of its own.
"""

from __future__ import annotations

# Customers fall into five groups by which of the joint columns are known: recharges (MONTANT,
# FREQUENCE_RECH), revenue (REVENUE, ARPU_SEGMENT, FREQUENCE), pack (TOP_PACK, FREQ_TOP_PACK).
# Share of the customers; recharges, revenue and pack known.
GROUPS = {
    "pack": (0.5735, True, True, True),
    "no_pack": (0.064, True, True, False),
    "revenue_only": (0.0225, False, True, False),
    "recharge_only": (0.011, True, False, False),
    "silent": (0.329, False, False, False),
}

# The probabilities at which the quantile tables below are given.
# fmt: off
PROBABILITIES = (
    0, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95,
    0.98, 0.99, 0.998, 1,
)
# fmt: on

# fmt: off
REGULARITY = {
    "pack": (1, 4, 7, 13, 17, 21, 26, 31, 39, 45, 52, 56, 58, 60, 61, 62, 62, 62, 62, 62, 62),
    "no_pack": (1, 1, 2, 2, 4, 7, 8, 10, 13, 19, 23, 29, 32, 37, 45, 51, 59, 60, 62, 62, 62),
    "revenue_only": (1, 1, 1, 1, 2, 2, 3, 3, 5, 7, 8, 13, 19, 20, 24, 36, 52, 58, 59, 59, 59),
    "recharge_only": (1, 1, 1, 1, 1, 1, 1, 1, 2, 3, 4, 6, 8, 10, 19, 41, 52, 53, 53, 53, 53),
    "silent": (1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 5, 8, 9, 11, 16, 22, 34, 49, 55, 62, 62),
}
# fmt: on

# Known values of customers with a pack, and of all others.
# fmt: off
PACK_AMOUNTS = {
    "MONTANT": (
        100, 300, 500, 600, 1000, 1100, 1500, 1800, 2500, 3500, 4837, 6600, 7704, 9000, 10732,
        13837, 18400, 23882, 28373, 47216, 63000,
    ),
    "FREQUENCE_RECH": (1, 1, 1, 2, 2, 2, 3, 4, 5, 7, 10, 14, 17, 20, 24, 30, 40, 52, 57, 80, 99),
    "REVENUE": (
        100, 259, 500, 600, 1000, 1159, 1500, 1950, 2624, 3533, 4915, 6801, 8000, 9086, 10984,
        13907, 18678, 24393, 29556, 49194, 63672,
    ),
    "FREQUENCE": (1, 1, 1, 2, 3, 3, 4, 5, 7, 10, 14, 19, 22, 25, 29, 35, 45, 56, 63, 80, 86),
    "DATA_VOLUME": (
        0, 0, 0, 0, 0, 0, 1, 5, 170, 850, 1655, 3091, 3916, 5391, 7439, 10630, 16747, 33601,
        46603, 85754, 250000,
    ),
    "ON_NET": (
        0, 0, 0, 1, 2, 5, 7, 10, 22, 38, 75, 145, 194, 266, 423, 796, 1828, 3334, 4971, 12462,
        19586,
    ),
    "ORANGE": (
        0, 0, 1, 2, 4, 7, 11, 15, 23, 36, 55, 84, 110, 140, 170, 229, 382, 676, 825, 1657, 4430,
    ),
    "TIGO": (0, 0, 0, 1, 1, 1, 2, 3, 4, 7, 11, 16, 21, 28, 39, 55, 88, 189, 328, 716, 738),
    "FREQ_TOP_PACK": (1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 6, 9, 11, 14, 17, 23, 32, 41, 47, 73, 101),
}
QUIET_AMOUNTS = {
    "MONTANT": (
        100, 100, 100, 118, 200, 200, 200, 300, 400, 500, 500, 957, 1000, 1280, 1512, 2050, 3260,
        7677, 17159, 19000, 19000,
    ),
    "FREQUENCE_RECH": (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 12, 21, 36, 39, 39),
    "REVENUE": (
        1, 1, 9, 18, 22, 82, 100, 143, 200, 344, 499, 706, 908, 1012, 1394, 1979, 3180, 6250,
        14139, 18925, 18925,
    ),
    "FREQUENCE": (1, 1, 1, 1, 1, 1, 1, 1, 2, 2, 3, 4, 5, 6, 7, 11, 17, 27, 39, 44, 44),
    "DATA_VOLUME": (
        0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 10, 108, 231, 593, 872, 1024, 1748, 3806, 4729, 5365, 5365,
    ),
    "ON_NET": (0, 0, 0, 0, 0, 1, 1, 1, 2, 4, 5, 7, 8, 9, 15, 26, 48, 680, 2155, 2799, 2799),
    "ORANGE": (0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4, 6, 8, 13, 19, 24, 75, 274, 594, 755, 755),
    "TIGO": (0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6, 12, 16, 72, 149, 187, 187, 187),
}
ZONE_AMOUNTS = {
    "ZONE1": (0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 7, 14, 34, 101, 153, 228, 228),
    "ZONE2": (0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 2, 3, 4, 5, 10, 16, 37, 125, 137, 140, 140),
}
# fmt: on

# Gaussian copula of customers with a pack (from Spearman's rank correlation), lower triangle.
CORRELATED = (
    "REGULARITY",
    "MONTANT",
    "FREQUENCE_RECH",
    "REVENUE",
    "FREQUENCE",
    "DATA_VOLUME",
    "ON_NET",
    "ORANGE",
    "TIGO",
    "ZONE1",
    "ZONE2",
    "FREQ_TOP_PACK",
)
# fmt: off
CORRELATIONS = (
    (1,),
    (0.69, 1),
    (0.67, 0.88, 1),
    (0.69, 0.99, 0.87, 1),
    (0.69, 0.87, 0.96, 0.88, 1),
    (0.28, 0.36, 0.26, 0.36, 0.29, 1),
    (0.4, 0.44, 0.39, 0.44, 0.36, -0.26, 1),
    (0.39, 0.67, 0.56, 0.67, 0.52, -0.05, 0.52, 1),
    (0.29, 0.44, 0.33, 0.44, 0.3, -0.01, 0.35, 0.45, 1),
    (-0.16, 0.06, -0.06, 0.07, -0.12, -0.14, -0.03, 0.05, -0.04, 1),
    (-0.2, 0.26, 0.08, 0.28, 0.05, -0.18, 0.1, 0.11, -0.06, 0.24, 1),
    (0.59, 0.82, 0.89, 0.82, 0.87, 0.22, 0.4, 0.59, 0.33, -0.02, -0.04, 1),
)
# fmt: on

# Share of unknown values, and (biserial) correlation of being unknown with REGULARITY, by group:
# with a pack, silent, the three between.
MISSING = {
    "REGION": {"pack": (0.194, -0.45), "between": (0.49, -0.52), "silent": (0.722, -0.48)},
    "DATA_VOLUME": {"pack": (0.285, -0.3), "between": (0.685, -0.38), "silent": (0.824, -0.46)},
    "ON_NET": {"pack": (0.098, -0.52), "between": (0.43, -0.6), "silent": (0.862, -0.44)},
    "ORANGE": {"pack": (0.11, -0.41), "between": (0.43, -0.48), "silent": (0.968, -0.37)},
    "TIGO": {"pack": (0.38, -0.4), "between": (0.75, -0.35), "silent": (0.982, -0.46)},
    "ZONE1": {"pack": (0.891, -0.15), "between": (0.92, -0.5), "silent": (0.991, -0.46)},
    "ZONE2": {"pack": (0.913, -0.09), "between": (0.925, -0.18), "silent": (0.998, -0.11)},
}
# What is unknown beyond that is correlated too: loadings on one factor of not calling.
MISSING_LOADINGS = {
    "REGION": 0.2,
    "DATA_VOLUME": 0.1,
    "ON_NET": 0.5,
    "ORANGE": 0.7,
    "TIGO": 0.5,
    "ZONE1": 0.25,
    "ZONE2": 0.15,
}

# Log-odds of CHURN: intercept, per ln(REGULARITY), region unknown, group silent, group no_pack
# (logistic regression; area under its ROC curve 0.93, by cross-validation).
CHURN_INTERCEPT = -1.52
CHURN_PER_LOG_REGULARITY = -0.944
CHURN_REGION_UNKNOWN = 2.57
CHURN_GROUP = {"silent": 0.52, "no_pack": -0.66}

REGION = {
    "DAKAR": 0.4,
    "THIES": 0.1411,
    "SAINT-LOUIS": 0.0996,
    "LOUGA": 0.0797,
    "KAOLACK": 0.0722,
    "KAFFRINE": 0.0456,
    "DIOURBEL": 0.039,
    "TAMBACOUNDA": 0.039,
    "KOLDA": 0.0249,
    "FATICK": 0.0232,
    "MATAM": 0.0232,
    "ZIGUINCHOR": 0.0108,
    "KEDOUGOU": 0.0017,
}
TENURE = {
    "K > 24 month": 0.941,
    "I 18-21 month": 0.0215,
    "H 15-18 month": 0.0185,
    "J 21-24 month": 0.0075,
    "G 12-15 month": 0.0065,
    "F 9-12 month": 0.005,
}
TOP_PACK = {
    "All-net 500F=2000F;5d": 0.2563,
    "On net 200F=Unlimited _call24H": 0.1247,
    "Data:490F=1GB,7d": 0.1116,
    "Data: 100 F=40MB,24H": 0.0724,
    "Data:1000F=2GB,30d": 0.0584,
    "Mixt 250F=Unlimited_call24H": 0.0558,
    "MIXT:500F= 2500F on net _2500F off net;2d": 0.0436,
    "Data: 200 F=100MB,24H": 0.034,
    "All-net 500F =2000F_AllNet_Unlimited": 0.027,
    "Jokko_Daily": 0.027,
    "On-net 500=4000,10d": 0.0218,
    "IVR Echat_Daily_50F": 0.0209,
    "Data:200F=Unlimited,24H": 0.0192,
    "On-net 500F_FNF;3d": 0.0174,
    "On-net 1000F=10MilF;10d": 0.0139,
    "MIXT: 200mnoff net _unl on net _5Go;30d": 0.0131,
    "VAS(IVR_Radio_Daily)": 0.0113,
    "All-net 600F= 3000F ;5d": 0.0087,
    "Twter_U2opia_Daily": 0.0078,
    "Data:1000F=5GB,7d": 0.0078,
    "Twter_U2opia_Weekly": 0.0044,
    "Data:3000F=10GB,30d": 0.0044,
    "All-net 1000=5000;5d": 0.0035,
    "Data:300F=100MB,2d": 0.0026,
    "Data:1500F=3GB,30D": 0.0026,
    "Data:500F=2GB,24H": 0.0017,
    "DataPack_Incoming": 0.0017,
    "Pilot_Youth1_290": 0.0017,
    "MIXT: 390F=04HOn-net_400SMS_400 Mo;4h\t": 0.0017,
    "All-net 1000F=(3000F On+3000F Off);5d": 0.0017,
    "On-net 200F=60mn;1d": 0.0017,
    "All-net 500F=1250F_AllNet_1250_Onnet;48h": 0.0017,
    "Facebook_MIX_2D": 0.0030,
    "New_YAKALMA_4_ALL": 0.0030,
    "On-net 300F=1800F;3d": 0.0030,
    "MIXT: 590F=02H_On-net_200SMS_200 Mo;24h\t\t": 0.0030,
    "200=Unlimited1Day": 0.0030,
    "Data:50F=30MB_24H": 0.0030,
}
MRG = {"NO": 1.0}
