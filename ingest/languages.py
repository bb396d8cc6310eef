"""One code for one language, however films and files write it: "en" for "eng", "de" for "ger" as for "deu"."""

from __future__ import annotations

import re
from typing import Final

UNKNOWN: Final = "und"
"""Undetermined, in ISO 639-2: nobody said which."""

_TAG: Final = re.compile(r"([a-z]{2,3})((?:[-_][a-z0-9]{2,8})*)", re.IGNORECASE)

_CODES: Final = """
aa/aar ab/abk ae/ave af/afr ak/aka am/amh an/arg ar/ara as/asm av/ava ay/aym az/aze ba/bak be/bel bg/bul bi/bis
bm/bam bn/ben bo/bod/tib br/bre bs/bos ca/cat ce/che ch/cha co/cos cr/cre cs/ces/cze cu/chu cv/chv cy/cym/wel
da/dan de/deu/ger dv/div dz/dzo ee/ewe el/ell/gre en/eng eo/epo es/spa et/est eu/baq/eus fa/fas/per ff/ful fi/fin
fj/fij fo/fao fr/fra/fre fy/fry ga/gle gd/gla gl/glg gn/grn gu/guj gv/glv ha/hau he/heb hi/hin ho/hmo hr/hrv ht/hat
hu/hun hy/arm/hye hz/her ia/ina id/ind ie/ile ig/ibo ii/iii ik/ipk io/ido is/ice/isl it/ita iu/iku ja/jpn jv/jav
ka/geo/kat kg/kon ki/kik kj/kua kk/kaz kl/kal km/khm kn/kan ko/kor kr/kau ks/kas ku/kur kv/kom kw/cor ky/kir la/lat
lb/ltz lg/lug li/lim ln/lin lo/lao lt/lit lu/lub lv/lav mg/mlg mh/mah mi/mao/mri mk/mac/mkd ml/mal mn/mon mr/mar
ms/may/msa mt/mlt my/bur/mya na/nau nb/nob nd/nde ne/nep ng/ndo nl/dut/nld nn/nno no/nor nr/nbl nv/nav ny/nya
oc/oci oj/oji om/orm or/ori os/oss pa/pan pi/pli pl/pol ps/pus pt/por qu/que rm/roh rn/run ro/ron/rum ru/rus rw/kin
sa/san sc/srd sd/snd se/sme sg/sag si/sin sk/slk/slo sl/slv sm/smo sn/sna so/som sq/alb/sqi sr/srp ss/ssw st/sot
su/sun sv/swe sw/swa ta/tam te/tel tg/tgk th/tha ti/tir tk/tuk tl/tgl tn/tsn to/ton tr/tur ts/tso tt/tat tw/twi
ty/tah ug/uig uk/ukr ur/urd uz/uzb ve/ven vi/vie vo/vol wa/wln wo/wol xh/xho yi/yid yo/yor za/zha zh/chi/zho zu/zul
"""
"""Every language of ISO 639-1, and behind it its code, for twenty of them two, of ISO 639-2."""

_SHORT: Final = {long: short for short, *longs in (codes.split("/") for codes in _CODES.split()) for long in longs}


def language(said: str | None) -> str:
    """What `said` stands for, in ISO 639-1 where the language has such a code and as it is said where not; a region or
    script behind it stays. What is no code of a language is `UNKNOWN`."""
    tag = _TAG.fullmatch((said or "").strip())
    if tag is None:
        return UNKNOWN
    main = tag[1].lower()
    return _SHORT.get(main, main) + tag[2].replace("_", "-")
