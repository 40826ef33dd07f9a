module github.com/waybillhq/waybill/examples/sink

go 1.26.0

require github.com/waybillhq/waybill v0.0.0-00010101000000-000000000000

replace github.com/waybillhq/waybill => ../..
