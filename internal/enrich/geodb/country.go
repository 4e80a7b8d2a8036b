package geodb

import (
	"github.com/maxmind/mmdbwriter/mmdbtype"
	"golang.org/x/text/language"
	"golang.org/x/text/language/display"
)

// countries holds the records by country code, each made once.
type countries map[string]mmdbtype.Map

// record is the country's record: its code, its names in English and Japanese, its continent.
func (c countries) record(code string) mmdbtype.Map {
	if r, ok := c[code]; ok {
		return r
	}
	country := mmdbtype.Map{"iso_code": mmdbtype.String(code)}
	record := mmdbtype.Map{"country": country, "registered_country": country}
	if n := names(code); len(n) > 0 {
		country["names"] = n
	}
	if k := continent(code); k != "" {
		record["continent"] = mmdbtype.Map{
			"code":  mmdbtype.String(k),
			"names": mmdbtype.Map{"en": mmdbtype.String(continentNames[k][0]), "ja": mmdbtype.String(continentNames[k][1])},
		}
	}
	c[code] = record
	return record
}

// renamed are the countries that changed their names since CLDR 32, whose names x/text has.
var renamed = map[string][2]string{
	"MK": {"North Macedonia", "北マケドニア"},
	"SZ": {"Eswatini", "エスワティニ"},
}

func names(code string) mmdbtype.Map {
	if n, ok := renamed[code]; ok {
		return mmdbtype.Map{"en": mmdbtype.String(n[0]), "ja": mmdbtype.String(n[1])}
	}
	region, err := language.ParseRegion(code)
	if err != nil {
		return nil
	}
	n := mmdbtype.Map{}
	if en := display.English.Regions().Name(region); en != "" {
		n["en"] = mmdbtype.String(en)
	}
	if ja := display.Japanese.Regions().Name(region); ja != "" {
		n["ja"] = mmdbtype.String(ja)
	}
	return n
}

var continentNames = map[string][2]string{
	"AF": {"Africa", "アフリカ"}, "AN": {"Antarctica", "南極大陸"}, "AS": {"Asia", "アジア"}, "EU": {"Europe", "ヨーロッパ"},
	"NA": {"North America", "北アメリカ"}, "OC": {"Oceania", "オセアニア"}, "SA": {"South America", "南アメリカ"},
}

// continents are UN M49's regions as GeoLite2's continents.
var continents = []struct{ m49, code string }{
	{"002", "AF"}, {"142", "AS"}, {"150", "EU"}, {"005", "SA"}, {"003", "NA"}, {"009", "OC"},
}

func continent(code string) string {
	switch code {
	case "AQ", "BV", "GS", "HM", "TF":
		return "AN"
	case "CY": // as GeoLite2 has it
		return "EU"
	}
	region, err := language.ParseRegion(code)
	if err != nil {
		return ""
	}
	for _, c := range continents {
		if language.MustParseRegion(c.m49).Contains(region) {
			return c.code
		}
	}
	return ""
}
