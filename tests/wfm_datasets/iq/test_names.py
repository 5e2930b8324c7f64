"""Sample rate, frequency and type in file names."""

from __future__ import annotations

from pathlib import Path

import pytest

from wfm_datasets.iq.names import facts, lone_hertz


@pytest.mark.parametrize(
    ("name", "rate", "frequency", "datatype"),
    [
        ("g001_433.92M_250k.cu8", 250e3, 433.92e6, "cu8"),
        ("gqrx_20210304_101112_433920000_1800000_fc.raw", 1.8e6, 433.92e6, "cf32_le"),
        ("SDRSharp_20150804_204359Z_7050kHz_IQ.wav", None, 7.05e6, None),
        ("HDSDR_20180101_120000Z_7050kHz_RF.wav", None, 7.05e6, None),
        ("20200813T065220Z_77500_HB9ODP_iq.wav", None, 77500.0, None),
        ("f1860_s1.92_g0_1s.bin", 1.92e6, 1860e6, None),
        ("f1815.3_s19.2_bw20_0.08s_hackrf-1.bin", 19.2e6, 1815.3e6, None),
        ("signal_f5.92e9_s11.52e6_50prb_1ms.dat", 11.52e6, 5.92e9, None),
        ("ue_dl_nr_pci500_rb52_s15.36e6.dat", 15.36e6, None, None),
        ("n78.fo35028.fs4608M.data", 46.08e6, 3502.8e6, None),
        ("HackRF-Light-2_475GHz-2MSps-2MHz.complex16s", 2e6, 2.475e9, "ci8"),
        ("3627MHz_30720KSPS_short.iq", 30.72e6, 3627e6, None),
        ("signal.1.92M.amar.dat", 1.92e6, None, None),
        ("test_1641427457780.iq", 2.4e6, 1090e6, "ci16_le"),
        ("GPS_L1_recording_10ms_4MHz_cf32.iq", None, None, "cf32_le"),  # a rate or a frequency: not taken
        ("ntsc_remy_10MHz_5925Hz_500ksamples_cf32.iq", None, None, "cf32_le"),
        ("dot11a_12mbps_qos_data_e4_90_7e_15_2a_16.dat", None, None, None),
        ("capture_sc16.bin", None, None, "ci16_le"),
        ("modes1.bin", None, None, None),
        ("subject_s1_f2.bin", None, None, None),
        ("room_f2_s1.bin", None, None, None),
        ("x.CS16", None, None, "ci16_le"),
    ],
)
def test_names(name: str, rate: float | None, frequency: float | None, datatype: str | None) -> None:
    found = facts(Path("some/folder") / name)
    assert (found.sample_rate, found.center_frequency, found.datatype) == (rate, frequency, datatype)
    assert found.q_first == name.startswith("test_16")


def test_a_lone_number_in_hertz() -> None:
    assert lone_hertz("vdl2_model_16b_1050kHz.wav") == 1.05e6
    assert lone_hertz("a_2MHz_3kHz.wav") is None
    assert lone_hertz("a.wav") is None
