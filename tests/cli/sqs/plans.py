"""Plans as users have them: what is emitted is checked for each."""

from dawdle.cli.sqs._plan import make_plan

KEY = "arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab"
PLANS = {
    "plain": make_plan("orders"),
    "FIFO": make_plan("orders.fifo", kms_key="alias/shop"),
    "all": make_plan("9-orders", delayed="9-orders-delayed", kms_key=KEY, retention=86_400, max_receives=200),
    "own key": make_plan("orders", dead_letters="letters", kms_key="1234abcd-12ab-34cd-56ef-1234567890ab"),
    "AWS's key": make_plan("orders", kms_key="alias/aws/sqs"),
}
