//! VUS-PR on real series, against the package that its benchmark uses.

use thalweg_series::measure::{find_length_rank, vus_pr};

use crate::data::labelled_series;

/// Each series with its window and its VUS-PR for the distance of each value from the one before as the score: `find_length_rank(values)`
/// and `generate_curve(labels, scores, window, 'opt', 250)[-1]` of TSB-AD 1.5, under numpy 2.4.6, statsmodels 0.15.0 and scipy 1.17.1.
const EXPECTED: [(&str, usize, f64); 19] = [
    ("001_NAB_id_1_Facility_tr_1007_1st_2014.csv", 6, 0.13650152721897021),
    ("005_NAB_id_5_Traffic_tr_594_1st_1645.csv", 22, 0.09030269118277796),
    ("008_NAB_id_8_Synthetic_tr_1007_1st_2734.csv", 71, 0.20253530580678536),
    ("010_NAB_id_10_WebService_tr_500_1st_271.csv", 23, 0.1662321861679205),
    ("014_NAB_id_14_WebService_tr_500_1st_1045.csv", 23, 0.09020694500498135),
    ("017_NAB_id_17_Synthetic_tr_1007_1st_1805.csv", 100, 0.11240333497717445),
    ("019_NAB_id_19_Facility_tr_1007_1st_1171.csv", 8, 0.12212057929712151),
    ("025_NAB_id_25_WebService_tr_3958_1st_4614.csv", 16, 0.09598718400130375),
    ("028_NAB_id_28_Facility_tr_1007_1st_3447.csv", 289, 0.14559945004675273),
    ("143_MSL_id_4_Sensor_tr_980_1st_3550.csv", 260, 0.10928105010138177),
    ("145_MSL_id_6_Sensor_tr_530_1st_630.csv", 125, 0.08528320830222799),
    ("148_MSL_id_9_Sensor_tr_883_1st_1238.csv", 40, 0.21066678243381717),
    ("532_SMAP_id_2_Sensor_tr_2075_1st_5550.csv", 98, 0.06238338944938045),
    ("537_SMAP_id_7_Sensor_tr_2077_1st_5394.csv", 102, 0.06906004271515134),
    ("539_SMAP_id_9_Sensor_tr_1857_1st_4270.csv", 125, 0.03151342513716483),
    ("541_SMAP_id_11_Sensor_tr_1832_1st_5300.csv", 125, 0.12926578678773026),
    ("544_SMAP_id_14_Sensor_tr_1978_1st_4450.csv", 90, 0.035184605155954465),
    ("546_SMAP_id_16_Sensor_tr_2117_1st_4770.csv", 95, 0.016371769612672442),
    ("548_SMAP_id_18_Sensor_tr_2094_1st_5600.csv", 125, 0.039314894044495875),
];

#[test]
fn vus_pr_of_real_series_is_that_of_tsb_ad() {
    for (name, window, expected) in EXPECTED {
        let Some((values, labels)) = labelled_series(name) else { return };
        let before = values.iter().take(1).chain(&values);
        let scores: Vec<f64> =
            values.iter().zip(before).map(|(value, before)| (value - before).abs()).collect();
        assert_eq!(find_length_rank(&values), window, "{name}");
        let found = vus_pr(&scores, &labels, window);
        assert!((found - expected).abs() < 1e-12, "{name}: {found}, not {expected}");
    }
}
